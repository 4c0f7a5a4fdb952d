"""The one task: how it ships, what it is handed, and what it says of a result that was reused."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from jobs import Work, make_work
from prefect import Task, flow
from prefect.futures import PrefectFuture
from tracked import prefect

from augpipe.pipeline.graph import Call
from augpipe.pipeline.records import (
    Choice,
    Measured,
    Prepared,
    Recipe,
    Scored,
    Synthetic,
    TrainedClassifier,
    TrainedGenerator,
    TrainingSpec,
)
from augpipe.pipeline.stages.mix import mix
from augpipe.pipeline.stages.train_classifier import train_classifier
from flows import tasks
from flows.tasks import CACHED, Submit, all_cached, result_of, run_stage


def test_there_is_one_task() -> None:
    assert [value for value in vars(tasks).values() if isinstance(value, Task)] == [run_stage]


def test_a_task_ships_to_a_worker() -> None:
    """By value, with what it refers to: a reference to torch would drag what cannot be pickled along."""
    assert set(run_stage.fn.__code__.co_names) <= {
        "reporting",
        "cache",
        "run",
        "reused",
        "value",
        "Completed",
        "CACHED",
    }
    assert len(cloudpickle.dumps(run_stage)) < 50_000
    assert run_stage.fn.__doc__ and run_stage.task_run_name


def test_nothing_but_refs_and_frozen_configs_crosses() -> None:
    for record in (
        Choice,
        Measured,
        Prepared,
        Recipe,
        Scored,
        Synthetic,
        TrainedClassifier,
        TrainedGenerator,
        TrainingSpec,
    ):
        assert record.model_config["frozen"]
        assert not [f for f in record.model_fields.values() if "Tensor" in str(f.annotation)]


@pytest.fixture
def server() -> Iterator[None]:
    with prefect():
        yield


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return make_work(tmp_path, "arms=[{name: real}]", "generators={}", "classifier.steps=5")


@pytest.mark.usefixtures("server")
def test_what_is_stored_needs_no_task(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(work.store.root.parent))
    prepared, real = work.prepare(), work.arm("real")

    @flow
    def once() -> tuple[Any, Any, int, list[bool], list[str]]:
        submit = Submit(work.context, timeout=600)
        recipe = submit(mix, prepared, real.mix, None, None, None, title="mix")
        trained = submit(
            train_classifier, prepared, recipe, work.experiment.classifier, "real", 0, title="classifier", total=5
        )
        pending = [isinstance(value, PrefectFuture) for value in (recipe, trained)]
        results = result_of(recipe), result_of(trained)
        states = [value.state.name for value in (recipe, trained) if isinstance(value, PrefectFuture)]
        return *results, submit.reused, pending, states

    def graph(call: Call) -> None:
        recipe = call(mix, prepared, real.mix, None, None, None, title="mix")
        call(train_classifier, prepared, recipe, work.experiment.classifier, "real", 0, title="classifier", total=5)

    assert not all_cached(graph, work.context)
    recipe, first, reused, pending, states = once()
    assert pending == [True, True] and reused == 0 and states == ["Completed"] * 2
    assert isinstance(recipe, Recipe) and isinstance(first, TrainedClassifier)
    again, second, reused, pending, _ = once()
    assert pending == [False, False] and reused == 2
    assert again == recipe and second == first
    assert all_cached(graph, work.context)
    assert not all_cached(graph, work.context.model_copy(update={"fresh": True}))

    # A task whose inputs were not known in time finds the result itself, and says so.
    @flow
    def late() -> tuple[str, Any]:
        future = run_stage.submit(mix, work.context, (prepared, real.mix, None, None, None), "mix", None)
        return future.result(), future.state.name

    assert late() == (recipe, CACHED)


def test_what_a_task_is_handed_does_not_grow_with_the_arms(work: Work) -> None:
    """A stage's options cross, and no experiment."""
    handed = {"stage": train_classifier, "context": work.context, "options": work.experiment.classifier}
    assert len(pickle.dumps(handed)) < 5_000
