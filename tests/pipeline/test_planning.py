"""The plan of a run on images: fitted to the budget, stored, refused; and that of a config."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from slow_nets import CHOSEN, TIMED, TRIED, use
from tiny import CONFIG

from augpipe.comparison.options import Confirm
from augpipe.core.errors import UserError
from augpipe.pipeline.budget import MOST_SEEDS, parse
from augpipe.pipeline.defaults import suggest
from augpipe.pipeline.experiment import build, dump, load
from augpipe.pipeline.planning import Plan, for_config, for_images
from augpipe.report.plan_text import plan_lines


@pytest.fixture(autouse=True)
def _slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    TIMED.clear()
    TRIED.clear()
    use(monkeypatch)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path, make_shapes, make_folder) -> Path:
    return make_folder(tmp_path / "pictures", make_shapes((40, 20), size=64))


def plan(folder: Path, budget: str, *overrides: str) -> Plan:
    return for_images(suggest(folder, overrides), parse(budget))


def test_more_time_buys_more(folder: Path) -> None:
    plans = [plan(folder, budget) for budget in ("3m", "10m", "30m", "1h", "9h")]
    experiments = [p.experiment for p in plans]
    assert [len(e.seeds) for e in experiments][-1] == MOST_SEEDS
    assert experiments[-1].fidelity.gan_train and experiments[-1].generators["cgan"].kimg == 60
    for less, more in pairwise(experiments):
        assert less.image.size <= more.image.size and len(less.seeds) <= len(more.seeds)
        assert {arm.name for arm in less.arms} <= {arm.name for arm in more.arms}
        assert {arm.name for arm in less.arms} >= {"real", "classic", "cgan+classic"}
    for p in plans:
        assert p.budget is not None and p.within
        assert 0 < p.estimate.seconds <= p.budget.seconds
    assert TIMED[-1] == 64, "what fits at the first size is timed at no other"


def test_the_same_command_has_the_same_plan(folder: Path, tmp_path: Path) -> None:
    first = plan(folder, "10m", "name=x")
    timed = list(TIMED)
    tried = list(TRIED)
    again = plan(folder, "10m", "name=x")
    assert timed == TIMED and tried == TRIED == [True] and not first.reused and again.reused
    assert {arm.mix.transform for arm in again.experiment.arms} == {None, CHOSEN.name} and CHOSEN.why in str(
        again.choices
    )
    assert dump(again.experiment) == dump(first.experiment) and again.estimate == first.estimate
    fresh = for_images(suggest(folder, ("name=x",)), parse("10m"), fresh=True)
    assert not fresh.reused and len(TIMED) > len(timed)
    assert not plan(folder, "11m", "name=x").reused and not plan(folder, "10m", "name=y").reused
    for path in (tmp_path / "home" / "plans").iterdir():
        path.write_text(path.read_text()[:-9])
    assert not plan(folder, "10m", "name=x").reused, "a damaged plan is none"


def test_what_the_user_sets_stands(folder: Path) -> None:
    overrides = (
        "seeds=4",
        "image.size=64",
        "generators.cgan.kimg=12",
        "classifier.steps=120",
        "arms.smote.mix.share=0.2",
        "fidelity.gan_train=true",
    )
    fitted = plan(folder, "9m", *overrides)
    experiment = fitted.experiment
    assert len(experiment.seeds) == 4 and experiment.image.size == 64 and set(TIMED) == {64}
    assert experiment.generators["cgan"].kimg == 12 and experiment.classifier.steps == 120
    assert "smote" in [arm.name for arm in experiment.arms] and experiment.fidelity.gan_train
    assert "balanced" not in [arm.name for arm in experiment.arms]
    keys = {choice.key for choice in fitted.choices}
    assert keys.isdisjoint({"seeds", "image.size", "generators.cgan.kimg", "classifier.steps"})
    with pytest.raises(
        UserError,
        match=r"a budget of 2m is too short: .* takes about .* min here, with what else .*; values of --set stay",
    ):
        plan(folder, "2m", *overrides)


def test_too_short(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a budget of 20s is too short: the least that makes sense"):
        plan(folder, "20s")
    with pytest.raises(UserError, match="the machine does now; give more with --budget"):
        plan(folder, "20s", "confirm=off")  # as --quick has it
    assert not (tmp_path / "home").exists()
    default = for_images(suggest(folder, ("classifier.steps=90000",)))
    assert not default.within and len(default.experiment.seeds) == 1
    assert "more than the 30m that a run on images has by default" in "\n".join(plan_lines(default))


def test_without_time_to_confirm_it_is_a_first_look(folder: Path) -> None:
    """As --quick asks for, or as a budget that is too short for five fresh trainings."""
    quick, least = plan(folder, "5m", "confirm=off"), plan(folder, "2m")
    for first in (quick, least):
        assert first.experiment.confirm == "off"
        assert first.experiment.note.startswith("A first look: ")
    assert "chose confirm.generators off (to fit the budget" in "\n".join(plan_lines(least))
    for budget, replicates in (("8m", 5), ("9h", 20)):
        planned = plan(folder, budget)
        assert planned.experiment.confirm == Confirm(generators=replicates, classifiers=1)
        assert planned.experiment.note == ""
        rows = {row.stage: row.tasks for row in planned.estimate.rows}
        assert rows["confirm: classifiers of the arms"] == 3 * replicates and planned.within
    assert plan(folder, "5m", "confirm=off", "note=mine").experiment.note == "mine"
    margin = plan(folder, "5m", "confirm.margin=1").experiment.confirm
    assert margin == Confirm(generators=5, classifiers=1, margin=1)


def test_the_text(folder: Path) -> None:
    text = "\n".join(plan_lines(plan(folder, "10m")))
    assert "data: 60 pictures of 2 classes; 64 px, grey" in text
    assert "classes: c0 40, c1 20 (imbalance ratio 2.0)" in text
    assert "expected splits: train 36, val 12, test 12" in text
    assert "data: no verdict is possible: at least 5 test images" in text and "('c1' 4); set split.test=0.25" in text
    assert "chose image.size" in text and "lowered from" in text
    for stage in ("read the pictures", "generators", "classifiers of the arms", "fidelity"):
        assert stage in text
    assert " in all of 10m; at most about " in text and "GB of disk" in text


def test_the_second_test_set_is_in_the_plan(folder: Path, tmp_path: Path) -> None:
    text = f"source.shift={{kind: folder, path: {folder}}}"
    planned = plan(folder, "10m", text)
    assert "data: second test set: 60 pictures (c0 40, c1 20)" in list(plan_lines(planned))
    assert not plan(folder, "10m").reused
    (tmp_path / "other" / "x").mkdir(parents=True)
    (tmp_path / "other" / "x" / "1.png").write_bytes((folder / "c0").iterdir().__next__().read_bytes())
    with pytest.raises(UserError, match=r"source\.shift has no image of c0, c1"):
        plan(folder, "10m", f"source.shift={{kind: folder, path: {tmp_path / 'other'}}}")


def test_in_one_process(folder: Path) -> None:
    """As `augpipe.run` does it, without servers."""
    alone = for_images(suggest(folder), parse("10m"), alone=True)
    assert alone.estimate.processes == 1 and not plan(folder, "10m").reused


def test_a_config_keeps_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    experiment = load(tmp_path / "tiny.yaml")
    planned = for_config(experiment)
    assert planned.experiment is experiment and planned.budget is None and not planned.choices
    tasks = {row.stage: row.tasks for row in planned.estimate.rows}
    n = len(experiment.seeds)
    assert tasks["generators"] == 2 * n and tasks["classifiers of the arms"] == 4 * n
    assert tasks["search of the mix"] == n and not (tmp_path / "home").exists()
    assert build(experiment.model_dump(mode="json")) == experiment
