"""The command: exit status, one line for a mistake, nothing half-written."""

from __future__ import annotations

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import call
from pictures import noise, save
from slow_nets import use
from tiny import CONFIG, ROOT, augpipe, environment

from augpipe.classifiers import heads, losses, transforms
from augpipe.synthetic import curation


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere.yaml"], "no config or folder 'nowhere.yaml'"),
        (["run", "tiny.yaml", "--set", "arms.acgan.mix.shear=1"], "unknown key 'shear'"),
        (["run", "tiny.yaml", "--out", "tiny.yaml"], "is a file"),
        (["run", "tiny.yaml", "--out", "data"], "holds AUGPIPE_HOME"),
        (["run", "tiny.yaml", "--set", "runner.device=cuda"], "no device 'cuda' on this machine; choose from cpu"),
        (["run", "empty"], "needs a sub-folder of pictures for each of at least 2 classes; it has none"),
        (["run", "tiny.yaml", "--oot", "x"], "--oot"),
        (["run"], "augpipe run needs CONFIG; see augpipe run --help"),
        (["train", "tiny.yaml"], "augpipe train needs --generator VALUE"),
        (["run", "tiny.yaml", "name=x"], "unexpected argument 'name=x' of augpipe run; --set A=1 B=2 sets values"),
        (["run", "tiny.yml"], "no config or folder 'tiny.yml' (did you mean 'tiny.yaml'?)"),
        (["run", "tiny.yaml", "--set", "source={kind: folder, path: /no/such}"], "the folder /no/such does not exist"),
        (["run", "missing.csv"], "such as 'no.png': set source.root to the folder that the paths are relative to"),
        (["rnu", "tiny.yaml"], "rnu"),
        (["list", "familys"], "unknown list 'familys' (did you mean 'families'?); choose from families"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, told, place, monkeypatch, capsys) -> None:
    if "cuda" in told:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has the device")
    (place / "empty").mkdir()
    (place / "missing.csv").write_text("path,label\nno.png,a\nnor.png,b\n")
    status, said = call(monkeypatch, capsys, *arguments)
    assert status == 2 and told in said
    assert said.startswith("augpipe: ") and "\n" not in said and "Traceback" not in said
    assert {p.name for p in place.iterdir()} <= {"empty", "missing.csv", "tiny.yaml", "data"}
    assert not (place / "data" / "store").exists()


def test_list(place, monkeypatch, capsys) -> None:
    """What there is: the files of families, and what the functions and classes are registered as."""
    models = (ROOT / "augpipe" / "generators" / "models").glob("[a-z]*.py")
    expected = {
        "families": ("acgan", sorted(path.stem for path in models)),
        "checks": ("blank", curation.checks),
        "losses": ("focal", losses.losses),
        "heads": ("crt", heads.heads),
        "transforms": ("light", transforms.policies),
    }
    for what, (one, names) in expected.items():
        status, said = call(monkeypatch, capsys, "list", what)
        assert status == 0 and said.splitlines() == list(names) and one in names, what
    status, said = call(monkeypatch, capsys, "list", "metrics")
    assert status == 0 and "macro_recall" in said and "fidelity: kid" in said
    assert {"fidelity: gan_train", "fidelity: memorisation.p"} <= set(said.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--set", "imbalance.classes=[7, eight]"], "imbalance: unknown class 'eight'; choose from 0, 1, 2"),
        (["run", "--set", "image.size=36"], "image size 36 is not 4, 5, 6 or 7 doubled"),
        (["refresh", "--set", "arms.smote.mix.share={eight: 0.1}"], "mix.share of arm 'smote': unknown class 'eight'"),
        (["refresh", "--out", "tiny.yaml"], "is a file"),
        (["balance", "--arm", "smote", "--set", "split.kind=grouped"], "the source has no groups"),
        (["balance", "--arm", "smoet"], "unknown arm with a generator 'smoet' (did you mean 'smote'?)"),
        # A generator of no arm.
        (
            ["train", "--generator", "lonely", "--set", "generators.lonely={kind: acgan}", "--set", "image.size=36"],
            "image size 36",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_that_the_data_show_starts_nothing(arguments, message, place, monkeypatch, capsys) -> None:
    """No server, no database, no store, although the config alone is right."""
    status, said = call(monkeypatch, capsys, arguments[0], "tiny.yaml", *arguments[1:])
    assert status == 2 and message in said and "\n" not in said
    assert {path.name for path in place.iterdir()} == {"tiny.yaml"}


@pytest.mark.parametrize("command", ["run", "refresh"])
def test_a_mistake_that_only_the_pictures_show_starts_no_server(command, place, monkeypatch, capsys) -> None:
    for name in "ab":
        for i in range(10):
            save(place / "pics" / name / f"{i}.png", noise(0 if name == "a" else i))
    monkeypatch.setenv("PREFECT_HOME", str(place / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    use(monkeypatch)
    status, said = call(monkeypatch, capsys, command, "pics", "--out", "out")
    assert status == 2 and "class 'a' has no image left in train" in said.splitlines()[-1]
    assert not (place / "out").exists() and not (place / "data" / "mlflow.db").exists()
    assert not list(place.rglob("prefect.db")) and not list((place / "data").glob("prefect/*"))


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """Files may grow to 64 kB only: told as the user's to mend."""
    script = (
        "import numpy as np, sys; sys.path.insert(0, 'tests');from shapes import shapes; from augpipe.core.store "
        f"import Store; from pathlib import Path;Store(Path({str(tmp_path)!r})).put_images(shapes((400, 400)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(tmp_path),
        text=True,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )
    assert "UserError: cannot write to" in done.stderr and "File too large" in done.stderr
    assert not list((tmp_path / "images").iterdir())


LONG = "trouser" * 34  # a folder's name may have 255 bytes
TUTORIAL = ROOT / "docs" / "tutorial" / "ten-minutes.md"


def test_a_folder_of_pictures_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the tutorial is written, with a small budget, one class of a very long name, and behind a proxy."""
    text = TUTORIAL.read_text("utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, str(TUTORIAL), "exec"), {})
    folder = (tmp_path / "pictures" / "zero").rename(tmp_path / "pictures" / LONG).parent
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    small = (
        "--set",
        "classifier.steps=10",
        "generators.cgan.kimg=0.5",
        "generators.cgan.ticks=1",
        "generators.cgan.width=2",
        "fidelity.images=12",
        "seeds=1",
    )
    # Nobody answers there: servers on this machine are not asked through it.
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = {}
    for line in re.findall(r"^```\naugpipe (.*)\n```", text, re.MULTILINE):
        command, *words = shlex.split(line)
        done[command] = augpipe(tmp_path, command, *words, *(small if command == "run" else ()), **proxy)
        assert done[command].status == 0, done[command].err[-3000:]
    assert list(done) == ["inspect", "run", "generate", "predict"]
    assert "430 images of 4 classes, the largest 3.4 times the smallest" in done["inspect"].out
    assert re.search(r"chose image.size 16 \(median short side 16 px, grey\)", done["run"].err)
    summary = json.loads((tmp_path / "look" / "summary.json").read_text())
    assert {"real", "cgan+classic"} <= set(summary["arms"]) and summary["stage"] == "explore"
    assert summary["data"]["classes"] == ["eight", "nine", "one", LONG]
    assert summary["verdict"].startswith("A first look, not confirmed. Too few")
    assert len(list((tmp_path / "more" / "nine").glob("*.png"))) == 500
    assert done["predict"].out.strip() == "10 pictures: predictions.csv"
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 11
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("http://me:secret@127.0.0.1:9", "no MLflow server answers at MLFLOW_TRACKING_URI http://127.0.0.1:9"),
        ("foo://x", "MLFLOW_TRACKING_URI foo://x"),
    ],
)
def test_a_tracking_store_that_does_not_answer(value, told, place, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    monkeypatch.setenv("PREFECT_HOME", str(place / "prefect"))
    status, said = call(monkeypatch, capsys, "run", "tiny.yaml", "--out", "out")
    assert status == 2 and told in said and "secret" not in said and "\n" not in said
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PREFECT_PROFILE", "nosuch", "unknown profile in PREFECT_PROFILE (unset it, or write it into"),
        ("AUGPIPE_TRACKING_PATIENCE", "abc", "AUGPIPE_TRACKING_PATIENCE must be seconds, 0 or more; got 'abc'"),
    ],
)
def test_a_setting_of_the_environment_that_comes_to_nothing(name, value, message, place, monkeypatch, capsys) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", str(place / "prefect"))
    status, error = call(monkeypatch, capsys, "run", "tiny.yaml", "--out", "out")
    assert status == 2 and message in error and "\n" not in error
    assert not (place / "out").exists()


def test_a_prefect_server_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    url = "http://127.0.0.1:9/api"
    done = augpipe(tmp_path, "run", "tiny.yaml", "--out", "out", PREFECT_API_URL=url)
    assert done.status == 2, done.err[-2000:]
    assert f"no Prefect server answers at PREFECT_API_URL {url}" in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err


@pytest.mark.parametrize("arms", ["[]", "x", "[x]", "{a: 1}", "[{}]", "[{name: [1]}]", "null"])
def test_inspecting_a_config_with_wrong_arms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arms: str
) -> None:
    (tmp_path / "c.yaml").write_text(f"source: {{kind: bundled, name: digits}}\narms: {arms}\n")
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    status, output = call(monkeypatch, capsys, "inspect", str(tmp_path / "c.yaml"))
    assert status == 2 and "arms" in output and len(output.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_path_longer_than_any_file_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    status, output = call(monkeypatch, capsys, command, "x" * 300)
    assert status == 2 and output.startswith("augpipe: no config") and len(output.splitlines()) == 1
