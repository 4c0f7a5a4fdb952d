"""What the command imports where it only answers or reports an error: nothing that computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CONFIG, ROOT, environment

HEAVY = {
    "albumentations", "cv2", "imblearn", "matplotlib", "mlflow", "pandas",
    "prefect", "pyarrow", "scipy", "sklearn", "torch", "torchvision",
}  # fmt: skip
SECONDS = 1.5  # of processor time: some .5 here; with torch over 3
SCRIPT = """
import json, resource, sys
from flows.cli import main
sys.argv[0] = "augpipe"
try:
    main()
    status = 0
except SystemExit as end:
    status = end.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([status, sorted({m.split(".")[0] for m in sys.modules}), used.ru_utime + used.ru_stime]))
"""


def after(place: Path, *arguments: str) -> tuple[int, set[str], float, str]:
    """Exit status, modules, seconds of processor time and errors of a command in its own process."""
    (place / "tiny.yaml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=place, env=environment(place, PYTHONPATH=str(ROOT)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    status, modules, seconds = json.loads(done.stdout.splitlines()[-1])
    return status, set(modules), seconds, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["run", "--help"],
        ["list", "families"], ["list", "sources"], ["list", "checks"], ["list", "classifiers"],
        ["list", "losses"], ["list", "transforms"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_answer_imports_nothing_that_computes(arguments: list[str], tmp_path: Path) -> None:
    status, modules, seconds, _ = after(tmp_path, *arguments)
    assert not modules & HEAVY and status == 0
    print(f"{' '.join(arguments)}: {seconds:.2f} s of processor time")
    assert seconds < SECONDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_an_error_in_a_config_imports_nothing_that_computes(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    status, modules, seconds, said = after(tmp_path, *arguments)
    assert status == 2 and message in said
    assert not modules & HEAVY
    print(f"{' '.join(arguments)}: {seconds:.2f} s of processor time")
    assert seconds < SECONDS


def test_a_familys_options_are_read_last(tmp_path: Path) -> None:
    """They are in its file, which imports torch: the only config error that pays for it."""
    status, modules, _, said = after(
        tmp_path, "run", "tiny.yaml", "--set", "generators.acgan.widht=1"
    )
    assert status == 2 and "unknown key 'widht'" in said and "torch" in modules
