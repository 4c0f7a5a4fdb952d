"""The quiz: which pictures it shows, what its page holds, and the score of its answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from in_process import call
from shapes import shapes
from stored_results import CLASSES, EVIL

from augpipe.comparison.proportion import wilson
from augpipe.core.errors import UserError
from augpipe.report.quiz import _item, pairs, quiz_page
from augpipe.report.quiz_answers import read_score

HEAD = "quiz,item,class,truth,answer,seconds\r\n"


def test_each_class_has_as_many_real_as_synthetic_pictures() -> None:
    real, synthetic = shapes((9, 2, 4)), shapes((3, 0, 20), seed=1)
    one, other = pairs(real, synthetic, 20, np.random.default_rng(0))
    assert real.counts(one) == synthetic.counts(other) == {0: 3, 1: 0, 2: 4}
    assert len(set(one)) == len(set(other)) == 7
    few, _ = pairs(real, synthetic, 3, np.random.default_rng(0))
    assert real.counts(few) == {0: 2, 1: 0, 2: 1}  # in turns


def test_the_page_holds_val_and_never_test(results) -> None:
    (generator,) = results.generators
    text = quiz_page(results, generator)
    assert text == quiz_page(results, generator)
    found = re.search(r'<script type="application/json" id="quiz">(.*?)</script>', text, re.DOTALL)
    assert found is not None and EVIL not in text and r"\u003cscript\u003e" in found[1]
    items = json.loads(found[1])["items"]
    assert {item["class"] for item in items} == set(CLASSES)
    uris = {truth: {i["image"] for i in items if i["truth"] == truth} for truth in ("real", "synthetic")}
    assert len(items) == 40 and not uris["real"] & uris["synthetic"]
    for split, shown in (("val", True), ("test", False)):
        images = results.splits[split]
        pngs = {_item(images, row, "real")["image"] for row in range(len(images))}
        assert uris["real"] <= pngs if shown else not uris["real"] & pngs, split


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
