"""The score of a quiz's answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from in_process import call

from augpipe.comparison.proportion import wilson
from augpipe.core.errors import UserError
from augpipe.report.quiz_answers import read_score

HEAD = "quiz,item,class,truth,answer,seconds\r\n"


def answers(place: Path, *rows: str, head: str = HEAD) -> Path:
    (place / "answers.csv").write_text(head + "".join(f"{row}\r\n" for row in rows))
    return place / "answers.csv"


def test_answers_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f'"digits, gan",{i},7,{"real" if i % 2 else "synthetic"},real,1.5' for i in range(1, 13)]
    path = answers(tmp_path, *rows)
    score = read_score(path)
    assert score.overall == (6, 12) and score.right == {"real": 6, "synthetic": 0}
    assert score.interval == wilson(6, 12) and "not shown" in score.reading
    status, printed = call(monkeypatch, capsys, "quiz", "score", str(path))
    assert status == 0 and "6 of 12" in printed and "25.4 to 74.6" in printed
    status, printed = call(monkeypatch, capsys, "quiz", "score", str(path), "--json")
    (value,) = json.loads(printed)
    assert (value["quiz"], value["fraction"]) == ("digits, gan", 0.5)
    assert (value["real_called_real"], value["synthetic_called_synthetic"]) == (1, 0)


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ((), HEAD, "has no answers"),
        (("1,2",), "a,b\r\n", "has no column 'quiz'"),
        (("q,1,7,real,fake,1",), HEAD, "unknown answer in line 2 of .* 'fake'; choose from real, synthetic"),
        (("q,1,7,real,real,1", "q,1,7,real,real,1"), HEAD, "answers item 1 twice, again in line 3"),
        (("q,1,7,real,real,1", "p,2,7,real,real,1"), HEAD, "answers to 2 quizzes"),
        (("q,1",), HEAD, "unknown truth in line 2"),
    ],
)
def test_what_are_no_answers(tmp_path: Path, rows: tuple[str, ...], head: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_score(answers(tmp_path, *rows, head=head))
