"""What the command imports where it only answers or reports an error: nothing that computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tiny import CONFIG, ROOT, environment

HEAVY = {
    "albumentations",
    "cv2",
    "imblearn",
    "matplotlib",
    "mlflow",
    "pandas",
    "prefect",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "torchvision",
}
SECONDS = 1.5  # of processor time, of a process with several commands: some .7 here; with torch over 3
SCRIPT = """
import contextlib, io, json, resource, sys
from flows.cli import main
told = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["augpipe", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
    told.append([status, sorted({m.split(".")[0] for m in sys.modules}), err.getvalue()])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([told, used.ru_utime + used.ru_stime]))
"""


def after(place: Path, *commands: list[str]) -> tuple[list[tuple[int, set[str], str]], float]:
    """Of commands in one new process: exit status, modules imported so far and errors of each;
    seconds of processor time.
    """
    (place / "tiny.yaml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=place,
        env=environment(place, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    told, seconds = json.loads(done.stdout.splitlines()[-1])
    return [(status, set(modules), err) for status, modules, err in told], seconds


ANSWERS = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["list", "families"],
    ["list", "sources"],
    ["list", "checks"],
    ["list", "classifiers"],
    ["list", "losses"],
    ["list", "transforms"],
]


def test_an_answer_imports_nothing_that_computes(tmp_path: Path) -> None:
    answers, seconds = after(tmp_path, *ANSWERS)
    for arguments, (status, modules, _) in zip(ANSWERS, answers, strict=True):
        assert not modules & HEAVY and status == 0, arguments
    assert seconds < SECONDS


ERRORS = [
    (["rnu"], "Unknown command"),
    (["run", "nowhere.yaml"], "no config or folder"),
    (["run", "tiny.yaml", "--set", "arms.acgan.mix.shear=1"], "unknown key 'shear'"),
    (["run", "tiny.yaml", "--set", "seeds=many"], "seeds: "),
    (["run", "tiny.yaml", "--set", "classifier.width=99"], "less than or equal to 16"),
    (["run", "tiny.yaml", "--set", "seeds"], "--set takes key.key=value"),
    (["run", "tiny.yaml", "--set", "generators.acgan.kind=nope"], "unknown generator 'nope'"),
    (["run", "tiny.yaml", "--set", "source.kind=nope"], "unknown source 'nope'"),
    (["run", "tiny.yaml", "--set", "source={kind: manifest, path: 1}"], "source: path"),
    (["run", "tiny.yaml", "--set", "baseline=x"], "unknown baseline 'x'"),
    (["run", "tiny.yaml", "--set", "gate=[kdi < 1]"], "unknown figure"),
    (["train", "tiny.yaml", "--generator", "x", "--set", "classifier.kind=x"], "unknown classifier"),
]


def test_an_error_in_a_config_imports_nothing_that_computes(tmp_path: Path) -> None:
    answers, seconds = after(tmp_path, *(arguments for arguments, _ in ERRORS))
    for (arguments, message), (status, modules, said) in zip(ERRORS, answers, strict=True):
        assert status == 2 and message in said and not modules & HEAVY, arguments
    assert seconds < SECONDS


def test_what_imports_more(tmp_path: Path) -> None:
    """A mistake that the data show, or in a family's option: pydantic's models of the families, but no torch."""
    commands = [
        ["run", "tiny.yaml", "--set", "arms.smote.mix.share={eight: 0.1}"],
        ["run", "tiny.yaml", "--set", "generators.acgan.widht=1"],
        ["run", "tiny.yaml", "--set", "generators.acgan.augment=[sharpen]"],
    ]
    (data, family, names), _ = after(tmp_path, *commands)
    assert data[0] == 2 and "unknown class 'eight'" in data[2]
    assert not data[1] & {"torch", "prefect", "mlflow"}
    assert family[0] == 2 and "unknown key 'widht'" in family[2] and "torch" not in family[1]
    assert names[0] == 2 and "unknown augmentation 'sharpen'" in names[2] and "torch" not in names[1]
