from __future__ import annotations

import cloudpickle
import pytest
from prefect import Task

from augpipe.pipeline.records import (
    Measured,
    Prepared,
    Scored,
    Synthesised,
    TrainedClassifier,
    TrainedGenerator,
)
from flows import tasks

TASKS = [value for value in vars(tasks).values() if isinstance(value, Task)]


def test_there_is_a_task_for_every_stage() -> None:
    assert {t.fn.__name__ for t in TASKS} == {
        "prepare", "train_features", "train_generator", "join_generators", "synthesise", "pool", "measure",
        "measure_made", "choose", "mix", "train_classifier", "score",
    }  # fmt: skip


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.fn.__name__)
def test_a_task_ships_to_a_worker(task: Task) -> None:
    """By value, with what it refers to: a reference to torch would drag what cannot be pickled along."""
    assert set(task.fn.__code__.co_names) <= {
        "stages", "once", "Reporter", "bar", "progress", "name", "told", "seed", "together", "pretrain",
        "search_steps", "model_copy", "last", "checkpoint", "experiment", "generators", "classifier", "kimg", "steps",
        task.fn.__name__,
    }  # fmt: skip
    assert len(cloudpickle.dumps(task)) < 50_000
    assert task.fn.__doc__ and task.task_run_name


def test_nothing_but_refs_and_frozen_configs_crosses() -> None:
    for record in (
        Measured, Prepared, Scored, Synthesised, TrainedClassifier, TrainedGenerator,
    ):  # fmt: skip
        assert record.model_config["frozen"]
        assert not [f for f in record.model_fields.values() if "Tensor" in str(f.annotation)]
