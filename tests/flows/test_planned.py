"""The command's budget and its plan; nothing is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import call
from slow_nets import use
from tiny import CONFIG

from augpipe.pipeline import planning
from augpipe.pipeline.defaults import suggest
from flows.load_config import load, load_checked


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_shapes, make_folder) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    use(monkeypatch)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    make_folder(tmp_path / "pics", make_shapes((40, 20), size=64))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tiny.yaml", "--budget", "10m"],
            "--budget applies to images only; the config tiny.yaml has its own settings: change them there",
        ),
        (["tiny.yaml", "--quick"], "--quick applies to images only"),
        (["pics", "--budget", "soon"], "--budget takes a time such as 90s, 10m, 2h or 1h30m; got 'soon'"),
        (["pics", "--budget", "5m", "--quick"], "--budget and --quick are mutually exclusive (--quick is --budget 5m)"),
        (["pics", "--budget", "5s"], "a budget of 5s is too short: the least that makes sense takes about"),
        (["nowhere", "--quick"], "no config or folder 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_budget_that_cannot_be(arguments, message, place, monkeypatch, capsys) -> None:
    status, output = call(monkeypatch, capsys, "run", *arguments)
    assert status == 2 and message in output and "\n" not in output
    assert {path.name for path in place.iterdir()} == {"tiny.yaml", "pics"}


@pytest.mark.parametrize("arguments", [["pics", "--quick"], ["tiny.yaml"]], ids=" ".join)
def test_a_dry_run_prints_the_plan_and_writes_no_results(arguments, place, monkeypatch, capsys) -> None:
    status, output = call(monkeypatch, capsys, "run", *arguments, "--dry-run", "--out", "out")
    assert status == 0 and output.startswith("data: ") and "plan: about " in output
    assert ("chose seeds" in output) == (" of 5m; " in output) == ("pics" in arguments)
    assert not (place / "out").exists()
    assert {path.name for path in place.glob("data/*")} <= {"plans"}


def test_other_commands_have_the_plan_of_a_run(place, capsys) -> None:
    """Of 30 minutes: what `run` trained, `train` and `balance` reuse."""
    run = planning.for_images(suggest(Path("pics"))).experiment
    assert load_checked(Path("pics"), (), lambda outline: None) == run == load(Path("pics"), ())
    assert "chose seeds" in capsys.readouterr().err
