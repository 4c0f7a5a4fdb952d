from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from flows import progress
from flows.board import Board
from flows.progress import Reporter, bar, duration, working
from flows.time_left import CLASSIFIERS, GENERATORS, REFERENCES, SCORES

TASKS = [(REFERENCES, ""), (GENERATORS, "acgan"), (CLASSIFIERS, ""), (SCORES, ""), (SCORES, "")]


def test_a_task_reports_through_a_file_that_goes_when_it_ends(tmp_path: Path) -> None:
    with Reporter(tmp_path / "p", "train_generator", "acgan/1, seed 0", 10) as report:
        (file,) = (tmp_path / "p").glob("*.json")
        report("half", 5)  # too soon after the first
        report("done", 10)
        assert json.loads(file.read_text()) == {
            "stage": "train_generator",
            "name": "acgan/1, seed 0",
            "done": 10,
            "total": 10,
            "message": "done",
        }
    assert not list((tmp_path / "p").iterdir())


def test_the_board_shows_stages_tasks_and_the_newest_samples(tmp_path: Path) -> None:
    text, samples = io.StringIO(), tmp_path / "samples"
    samples.mkdir()
    board = Board(
        tmp_path, TASKS, Console(file=text, force_terminal=True, width=120), known=[(SCORES, "")], samples=samples
    )
    (samples / "new.png").write_text("x")
    with (
        board.live(),
        Reporter(tmp_path, "train_generator", "acgan, seed 0", 10) as report,
        Reporter(tmp_path, "measure", "measure acgan, seed 0", None),
    ):
        report("900 img/s, 3 s left", 10)
        board.advance((REFERENCES, ""), "one")
        board.update()
        shown = {t.description: t.fields["shown"] for t in board._bars.tasks}
        assert shown == {
            "reference classifiers": "1/1",
            "generators": "0/1",
            "classifiers": "0/1",
            "scores": "1/3",
            "  acgan, seed 0": "100%",
            "  measure acgan, seed 0": "",
        }
    board.update()
    assert len(board._bars.tasks) == 4
    for part in ("900 img/s", "1 of 3 arms x replicates scored", f"newest samples: {samples / 'new.png'}"):
        assert part in text.getvalue()


def test_without_a_terminal_it_is_lines_and_none_is_longer_away_than_the_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO()
    board = Board(tmp_path, TASKS, Console(file=text, width=80), known=[(SCORES, "")])
    with Reporter(tmp_path, "train_classifier", "classifier real, seed 0", 10) as report:
        report._last = 0.0  # long ago
        report("100 img/s", 1)
        board.update()
        report("900 img/s", 10)
        board.advance((GENERATORS, "acgan"), "generator done")
        board.advance((REFERENCES, ""), "")
        board.update()
        assert text.getvalue() == "[2/6] generator done\n"
        monkeypatch.setattr(progress, "SILENCE", 0.0)
        board.update()
    line = text.getvalue().splitlines()[1]
    assert line.startswith("[3/6] 0 s: 1 of 3 arms x replicates scored, about 0 s left. "), line
    assert line.endswith("Running: classifier real, seed 0 100% (900 img/s)")


def test_a_file_half_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    board = Board(tmp_path, [(SCORES, "")], Console(file=io.StringIO()))
    board.update()
    assert board.state() == "0 of 1 arms x replicates scored, time left not known yet. Running: no task yet"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_long_work_is_not_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "SILENCE", 0.02)
    with bar("reading images") as advance:
        advance(1500, 3000)
        time.sleep(0.1)
    with working("writing the report"):
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert "reading images: 1,500/3,000, 0 s" in lines and "writing the report: 0 s" in lines
    monkeypatch.setattr(progress, "SILENCE", 60.0)
    with bar("reading images"), working("writing the report"):
        pass
    assert capsys.readouterr().err == ""


def test_a_deleted_folder_of_temporary_files_ends_no_task(tmp_path: Path) -> None:
    with Reporter(tmp_path / "p", "train_classifier", "classifier real, seed 0", 10) as report:
        shutil.rmtree(tmp_path / "p")
        report("", 10.0)
    assert not (tmp_path / "p").exists()
