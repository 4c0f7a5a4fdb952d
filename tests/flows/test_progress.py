from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from flows.progress import Board, Reporter


def test_a_task_reports_through_a_file_that_goes_when_it_ends(tmp_path: Path) -> None:
    with Reporter(tmp_path / "p", "acgan/1, seed 0", 10) as report:
        (file,) = (tmp_path / "p").glob("*.json")
        report("half", 5)  # too soon after the first
        report("done", 10)
        assert json.loads(file.read_text()) == {
            "name": "acgan/1, seed 0", "done": 10, "total": 10, "told": "done",
        }  # fmt: skip
    assert not list((tmp_path / "p").iterdir())


def test_the_board_shows_what_reports(tmp_path: Path) -> None:
    text = io.StringIO()
    board = Board(tmp_path, 2, Console(file=text, force_terminal=True, width=120))
    with board.live(), Reporter(tmp_path, "acgan, seed 0", 10) as report:
        report("900 img/s, 3 s left", 10)
        board.update()
        board.advance("one")
        assert {t.description for t in board._bars.tasks} == {"all tasks", "acgan, seed 0"}
        assert board._bars.tasks[1].completed == 10
    assert "900 img/s" in text.getvalue()


def test_without_a_terminal_it_is_lines(tmp_path: Path) -> None:
    text = io.StringIO()
    board = Board(tmp_path, 2, Console(file=text, width=80))
    with board.live():
        board.advance("generator done")
        board.advance("")
    assert text.getvalue() == "[1/2] generator done\n"


def test_a_file_half_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    board = Board(tmp_path, 1, Console(file=io.StringIO()))
    board.update()
    assert len(board._bars.tasks) == 1
