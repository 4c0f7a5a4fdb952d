"""The expected time of a run: its graph over processes, and the nets that are timed for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from augpipe.pipeline.costs import Costs, GeneratorCosts, request
from augpipe.pipeline.defaults import timed_external
from augpipe.pipeline.estimate import FIDELITY, PYTHON, READ, Images, Task, estimate, graph, wall
from augpipe.pipeline.experiment import build
from augpipe.pipeline.timing import Timers, measure

VALUES: dict[str, Any] = {
    "name": "x",
    "source": {"kind": "bundled", "name": "digits"},
    "generators": {"smote": {"kind": "smote"}, "cgan": {"kind": "cgan", "kimg": 10, "width": 4}},
    "classifier": {"width": 0.25, "steps": 100},
    "arms": [
        {"name": "real"},
        {"name": "classic", "mix": {"transform": "light"}},
        {"name": "smote", "generator": "smote", "mix": {"fill": 5}},
        {"name": "cgan", "generator": "cgan", "mix": {"fill": 50, "share": 0.1}},
    ],
    "baseline": "real",
    "seeds": 2,
    "confirm": "off",
}
COUNTS = {"train": {0: 60, 1: 20}, "val": {0: 10, 1: 4}, "test": {0: 20, 1: 8}}
IMAGES = Images(COUNTS, ("a", "b"), 16, 1, read=0.5)


def costs(**changes: Any) -> Costs:
    generator = GeneratorCosts(shown=0.0, settle=0.0, drawn=0.0, bytes=10)
    values: dict[str, Any] = {
        "python": PYTHON,
        "step": 0.0,
        "batch": {"": 0.0, "light": 0.0},
        "predicted": 0.0,
        "memory": 10**9,
        "generators": {"smote": generator, "cgan": generator},
    }
    return Costs(**{**values, **changes})


def seconds(processes: int = 1, **changes: Any) -> float:
    experiment = build(VALUES)
    return estimate(experiment, IMAGES, costs(**changes), processes, 1, servers=False).seconds


def test_every_call_of_the_comparison_is_counted() -> None:
    tasks = graph(build(VALUES), IMAGES)
    names = [task.stage.__name__ for task in tasks]
    assert {name: names.count(name) for name in set(names)} == {
        "train_reference": 2,
        "train_generator": 4,
        "synthesize": 4,
        "mix": 8,
        "train_classifier": 8,
        "score": 8,
        "measure": 4,
    }
    assert sum(r.tasks for r in estimate(build(VALUES), IMAGES, costs(), 1, 1).rows) == 38 + 2


def test_each_cost_counts_as_often_as_it_is_paid() -> None:
    """Two seeds of 100 steps: 4 arms, the reference classifier and GAN-train of two generators,
    3 of the 7 light ones.
    """
    free = seconds()
    assert seconds(step=0.01) - free == pytest.approx(2 * 7 * 100 * 0.01)
    assert seconds(batch={"": 0.0, "light": 0.01}) - free == pytest.approx(2 * 4 * 100 * 0.01)
    shown = GeneratorCosts(shown=0.01, settle=0.0, drawn=0.0, bytes=10)
    generators = {"smote": costs().generators["smote"], "cgan": shown}
    assert seconds(generators=generators) - free == pytest.approx(2 * 10_000 * 0.01)


def test_the_second_test_set_is_read_and_scored() -> None:
    second = replace(IMAGES, shift=40, read_shift=2.0)
    with_second, alone = (
        estimate(build(VALUES), images, costs(predicted=0.01), 1, 1, servers=False) for images in (second, IMAGES)
    )
    # Two seeds of four arms, each on 40 images.
    assert with_second.seconds - alone.seconds == pytest.approx(READ * 2.0 + 8 * 40 * 0.01)
    assert with_second.disk - alone.disk == 40 * 16**2
    assert [row.tasks for row in with_second.rows] == [row.tasks for row in alone.rows]


def test_images_made_elsewhere_are_read(make_folder, make_shapes, tmp_path: Path) -> None:
    more = replace(IMAGES, external=40, read_external=2.0)
    with_more, alone = (estimate(build(VALUES), images, costs(), 1, 1, servers=False) for images in (more, IMAGES))
    assert with_more.seconds - alone.seconds == pytest.approx(READ * 2.0)
    assert with_more.disk - alone.disk == 40 * 16**2
    source = {"kind": "folder", "path": str(make_folder(tmp_path / "made", make_shapes((6, 4))))}
    with_source = build({**VALUES, "generators": {**VALUES["generators"], "sd": {"kind": "images", "source": source}}})
    number, seconds = timed_external(with_source, make_shapes((1, 1)).classes)
    assert number == 10 and seconds > 0
    assert timed_external(build(VALUES), ("a", "b")) == (0, 0.0)


def test_what_is_not_timed_takes_longer_on_a_slow_core() -> None:
    """The report, fidelity and the checks; measured: 640 images of the set `digits`, and 20,000."""
    assert seconds(python=2 * PYTHON) == pytest.approx(2 * seconds() - READ * IMAGES.read)
    for n, took in ((640, 1.0 / 0.57), (20_000, 74.0)):
        once, each, pair = FIDELITY
        assert once + each * n + pair * n**2 == pytest.approx(took, rel=0.1)


def test_the_confirm_stage_is_that_of_the_arms_that_take_longest() -> None:
    """Four replicates of cgan and smote (which needs the reference classifier), two classifiers of each;
    one of the baseline.
    """
    values = {**VALUES, "confirm": {"generators": 4, "classifiers": 2}}
    both = [estimate(build(v), IMAGES, costs(step=0.01), 1, 1, servers=False) for v in (VALUES, values)]
    checks = 2 * 4 * 0.125  # seconds of the candidates of two synthetic sets
    assert both[1].seconds - both[0].seconds == pytest.approx(4 * (1 + 2 * 2 + 1) + checks)
    rows = {row.stage: row.tasks for row in both[1].rows if row not in both[0].rows}
    assert rows["confirm: classifiers of the arms"] == 20 and rows["confirm: generators"] == 8
    plain = {**values, "arms": VALUES["arms"][:3], "generators": {"smote": {"kind": "smote"}}}
    assert not any(r.stage.startswith("confirm") for r in estimate(build(plain), IMAGES, costs(), 1, 1).rows)


def test_of_two_arms_the_seeds_of_explore_are_trained_once() -> None:
    """Two of four replicates are there: two generators more,
    and of each arm 2 x 2 classifiers on them and one on each of the first.
    """
    values = {
        **VALUES,
        "arms": [VALUES["arms"][0], VALUES["arms"][3]],
        "generators": {"cgan": VALUES["generators"]["cgan"]},
        "confirm": {"generators": 4, "classifiers": 2},
    }
    for processes in (1, 2):
        expected = estimate(build(values), IMAGES, costs(step=0.01), processes, 1, servers=False)
        rows = {row.stage: row.tasks for row in expected.rows}
        assert rows["confirm: generators"] == 2 and rows["confirm: reference classifiers"] == 2
        assert rows["confirm: classifiers of the arms"] == 2 * (2 * 2 + 2 * 1)


def test_two_processes_halve_what_does_not_wait() -> None:
    stage = lambda: None  # noqa: E731
    first, second, last = Task(stage, ()), Task(stage, ()), Task(stage, ())
    after = Task(stage, ([first], last))
    spent = {first: 3.0, second: 2.0, last: 1.0, after: 4.0}
    order = [first, second, last, after]
    assert wall(order, spent, 1) == 10 and wall(order, spent, 2) == 7
    assert wall([], {}, 2) == 0
    both = [seconds(n, step=1.0) for n in (1, 2)]
    assert both[1] < 0.6 * both[0]


def test_the_nets_are_timed_here_and_in_processes_of_their_own() -> None:
    wanted = request(build(VALUES), (16, 1), 2, threads=1).model_copy(update={"limit": 0.02})
    here = measure(wanted)
    with Timers(2) as timers:
        there = timers.costs(wanted)
    for timed in (here, there):
        assert timed.python > 0
        assert set(timed.generators) == {"smote", "cgan"} and set(timed.batch) == {"", "light"}
        # A step is what is left of a whole one after its batch, timed apart: on a busy machine that may be nothing.
        assert timed.step + timed.batch[""] > 0 and timed.predicted > 0 and timed.memory > 10**8
        assert timed.generators["cgan"].shown > 0 == timed.generators["smote"].shown
    assert not any(process.is_alive() for process in timers._processes)


def test_a_head_takes_no_training_of_a_classifier_but_views_of_train() -> None:
    """One seed; 80 images of train in four views, and 14 of val."""
    light = {"name": "light", "mix": {"transform": "light"}}
    head = {"name": "lda", "mix": {"transform": "light", "head": "lda"}}
    one = build({**VALUES, "generators": {}, "arms": [light], "baseline": "light", "seeds": 1})
    both = build({**VALUES, "generators": {}, "arms": [light, head], "baseline": "light", "seeds": 1})

    def difference(**changes: Any) -> float:
        of = [estimate(each, IMAGES, costs(**changes), 1, 1, servers=False).seconds for each in (one, both)]
        return of[1] - of[0]

    assert difference() == pytest.approx(2)  # its own training
    assert difference(step=0.01) == pytest.approx(2)
    # Besides, its scores on val and test.
    assert difference(predicted=0.01) == pytest.approx(2 + (4 * 80 + 14 + 14 + 28) * 0.01)
