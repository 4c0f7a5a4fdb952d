"""Two runs on one test set: what differs, and which arms moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import call
from stored_results import CLASSES, EVIL

from augpipe.comparison.bootstrap import gain
from augpipe.comparison.units import Units
from augpipe.core.csv_files import escaped
from augpipe.core.errors import UserError
from augpipe.core.files import write_json
from augpipe.pipeline.experiment import dump
from augpipe.report.compare_runs import compare_runs
from augpipe.report.predictions import write_predictions
from augpipe.report.run_folder import read_run


@pytest.fixture(scope="module")
def first(results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run, the files that are compared. Its test images are ungrouped."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    write_predictions(results.predictions, folder / "predictions.csv")
    summary = results.summary()
    summary["data"]["intake"]["groups"] = None
    write_json(folder / "summary.json", summary)
    (folder / "experiment.yaml").write_text(dump(results.requested), encoding="utf-8")
    return folder


def changed(first: Path, tmp_path: Path, **arms: float) -> Path:
    """A copy in which so many of the test images of an arm are classified correctly, the first ones of each class."""
    second = shutil.copytree(first, tmp_path / "second")
    table = pd.read_csv(second / "predictions.csv", keep_default_na=False)
    for arm, fraction in arms.items():
        rows = table.index[(table.arm == arm) & (table["split"] == "test")]
        turn = table.loc[rows].groupby(["seed", "true"]).cumcount()
        wrong = table.loc[rows, "true"].map(dict(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)))
        table.loc[rows, "predicted"] = np.where(turn < 20 * fraction, table.loc[rows, "true"], wrong)
    table.to_csv(second / "predictions.csv", index=False)
    return second


NAMES = [escaped(name) for name in CLASSES]


def test_a_run_and_its_copy_are_the_same(first: Path, tmp_path: Path) -> None:
    compared = compare_runs(read_run(first), read_run(changed(first, tmp_path)))
    assert not (compared.data or compared.settings or compared.versions)
    assert compared.paired == (0, 1, 2) and compared.only == ((), ())
    assert [one.change.interval.mean for one in compared.arms] == [0, 0, 0]
    assert compared.sentence() == "No arm of 3 is shown to have moved."


def test_what_moved_is_shown_with_its_interval(
    first: Path, tmp_path: Path, results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = changed(first, tmp_path, classic=1.0, gan=0.5)
    steps = str(results.experiment.classifier.steps)
    text = (second / "experiment.yaml").read_text().replace(f"steps: {steps}", "steps: 999")
    (second / "experiment.yaml").write_text(text)
    one, other = read_run(first), read_run(second)
    compared = compare_runs(one, other)
    moved = {arm.arm: arm for arm in compared.arms}
    assert {name: arm.label for name, arm in moved.items()} == {
        "real": "not shown to have moved",
        "classic": "not shown to have moved",
        "gan": "down",
    }
    # Of three seeds that differ, a change of 32 points is not shown once p is corrected.
    assert moved["classic"].change.p < 0.05 < moved["classic"].change.p_holm
    # Against the bootstrap on the results that the files were written from, and the recalls of scores.csv.
    test = results.splits["test"]
    order = np.argsort(test.table["id"].to_numpy(str))
    units = Units(test.labels[order])
    direct = gain("b", "a", {"a": one.right["classic"], "b": np.ones((3, 60), bool)}, units)
    assert moved["classic"].change.interval == direct.interval
    for arm in moved.values():
        assert arm.means[0] == pytest.approx(results.mean(arm.arm, "macro_recall"))
    assert compared.settings == (("classifier.steps", steps, "999"),)

    page = tmp_path / "page.html"
    status, printed = call(monkeypatch, capsys, "compare-runs", str(first), str(second), "--out", str(page))
    assert status == 0 and "1 arm of 3 moved: gan down." in printed
    assert f"classifier.steps: {steps} | 999" in printed and "data: the same" in printed
    text = page.read_text()
    assert "classifier.steps" in text and "down" in text and EVIL not in text
    again = ("compare-runs", str(second), str(first), "--out", str(page), "--json")
    status, printed = call(monkeypatch, capsys, *again)
    assert status == 0 and json.loads(printed)["arms"]["gan"]["moved"] == "up"


def test_other_seeds_are_paired_as_far_as_both_have_them(first: Path, tmp_path: Path) -> None:
    second = changed(first, tmp_path, classic=1.0)
    summary = json.loads((second / "summary.json").read_text())
    write_json(second / "summary.json", {**summary, "seeds": [2, 1]})
    compared = compare_runs(read_run(first), read_run(second))
    assert compared.paired == (1, 2)
    assert {one.label for one in compared.arms} == {"too few seeds to say"}


def test_another_test_set_is_refused(first: Path, tmp_path: Path) -> None:
    second = changed(first, tmp_path)
    table = pd.read_csv(second / "predictions.csv", keep_default_na=False)
    table[table.id != "img7"].to_csv(second / "predictions.csv", index=False)
    message = f"different test sets: 59 of 60 test images of {first} are among the 59 of {second}"
    with pytest.raises(UserError, match=message):
        compare_runs(read_run(first), read_run(second))
    summary = json.loads((second / "summary.json").read_text())
    write_json(second / "summary.json", {**summary, "resplit": True})
    with pytest.raises(UserError, match="draws a split for each seed"):
        compare_runs(read_run(first), read_run(second))


def test_groups_are_resampled_together(first: Path, tmp_path: Path) -> None:
    second = changed(first, tmp_path, gan=0.5)
    for folder in (first, second):
        summary = json.loads((folder / "summary.json").read_text())
        summary["data"]["intake"]["groups"] = 12
        write_json(folder / "summary.json", summary)
    with pytest.raises(UserError, match="did not record the groups of test images"):
        read_run(first)
    apart = None
    for folder in (first, second):
        table = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
        turn = table.groupby(["arm", "seed", "split", "true"]).cumcount() // 5
        table["group"] = table["true"].map({n: str(at) for at, n in enumerate(NAMES)}) + turn.astype(str)
        table.to_csv(folder / "predictions.csv", index=False)
    compared = compare_runs(read_run(first), read_run(second))
    apart = next(one for one in compared.arms if one.arm == "gan")
    assert compared.first.groups is not None and len(set(compared.first.groups)) == 12
    assert apart.label == "too few test images to say"  # four groups of each class


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", None, "is not the out folder of a run: it has no summary.json"),
        ("summary.json", "{", "cannot be read"),
        ("predictions.csv", "a,b\n1,2\n", "cannot be read"),
    ],
)
def test_what_is_no_run_is_named(first: Path, tmp_path: Path, file: str, text: str | None, message: str) -> None:
    second = changed(first, tmp_path)
    (second / file).unlink() if text is None else (second / file).write_text(text)
    with pytest.raises(UserError, match=message):
        read_run(second)
