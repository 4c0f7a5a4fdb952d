"""What MLflow holds of a run, to be compared; a Prefect server for calls that wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import warm
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker

from flows.engine import prefect_api


@contextmanager
def prefect() -> Iterator[None]:
    """The session's Prefect server, until all events have been sent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", warm.prefect())
        patch.setenv("PREFECT_LOGGING_TO_API_ENABLED", "false")
        refresh_global_settings_context()
        with prefect_api():
            yield
            EventsWorker.drain_all(timeout=30)
    refresh_global_settings_context()


def below(client: MlflowClient, run: str, path: str = "") -> Iterator[str]:
    for one in client.list_artifacts(run, path):
        if one.is_dir:
            yield from below(client, run, one.path)
        else:
            yield one.path


def told(client: MlflowClient, run: Run) -> tuple[object, ...]:
    """All that a run's record holds, except times and what they are about."""
    loose = ("train/seconds", "tracking_seconds")
    metrics = {k: v for k, v in run.data.metrics.items() if k not in loose and not k.startswith("system/")}
    history = [
        (m.key, m.value, m.step) for key in sorted(metrics) for m in client.get_metric_history(run.info.run_id, key)
    ]
    # A preview's name holds when its training ended.
    files = sorted(re.sub(r"timestamp.\d+", "", path) for path in below(client, run.info.run_id))
    inputs = sorted((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs)
    tags = {
        k: v
        for k, v in run.data.tags.items()
        if k.startswith("augpipe.") and k not in ("augpipe.key", "augpipe.process", "augpipe.heartbeat")
    }
    return (
        run.info.run_name,
        run.info.status,
        sorted(run.data.params.items()),
        sorted(metrics.items()),
        history,
        files,
        inputs,
        sorted(tags.items()),
        len(run.outputs.model_outputs),
    )
