"""MLflow runs by key: looked up first, created only if missing; logging to one is idempotent."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES, MLFLOW_PARENT_RUN_ID
from PIL import Image

from augpipe.core import device, machine
from augpipe.core import fingerprints as code
from augpipe.core.errors import UserError
from augpipe.core.files import temporary
from augpipe.core.processes import is_dead, is_here, this_process
from augpipe.core.refs import Ref
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Timed

from .names import Point
from .uploads import send_folder

KEY: Final = "augpipe.key"
PROCESS: Final = "augpipe.process"
HEARTBEAT: Final = "augpipe.heartbeat"
FAILED: Final = "augpipe.failed"
INTERVAL: Final = 300.0  # seconds between heartbeats of a run
TIMEOUT: Final = 3600.0  # seconds without one after which a run of another machine counts as ended
# Without this tag MLflow guesses the kind of an experiment. Since its page has a switch between language models and
# training (3.17), that decides which menus are shown: see `Tracker.address`.
KIND: Final = ("mlflow.experimentKind", "custom_model_development")
METRICS: Final = 900  # per call; MLflow accepts 1000 metrics, params and tags together
PARAMS: Final = 100  # per call


def key_of(*parts: Any) -> str:
    """A hash of plain values: 32 hexadecimal digits of their JSON's SHA-256."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def code_of(experiment: Experiment) -> Any:
    """Fingerprint and library versions of the code that results depend on; the time now if edited since start-up."""
    families = {config.kind for config in experiment.generators.values()}
    modules = ["augpipe.pipeline.graph", *(f"augpipe.generators.models.{k}" for k in families)]
    try:
        return [code.fingerprint(modules), dict(code.libraries()), _machine(experiment)]
    except code.ChangedError:
        return time.time()


def _machine(experiment: Experiment) -> list[str]:
    """What computes: results of another device or processor belong to another run."""
    runner = experiment.runner
    if runner.kind == "dask":
        return ["dask"]
    chosen = device.pick_device(runner.device)
    return [chosen, machine.chip(chosen)]


def search(client: MlflowClient, experiment: str, query: str) -> Iterator[Run]:
    """All runs that match, newest first."""
    page = None
    while True:
        runs = client.search_runs([experiment], query, max_results=1000, page_token=page)
        yield from runs
        page = runs.token
        if not page:
            return


def experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of an MLflow experiment, created if missing, with the tag KIND;
    artifacts: where a new one keeps its files.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            tags = dict([KIND])
            return str(client.create_experiment(name, artifact_location=artifacts, tags=tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return experiment_id(client, name, artifacts)  # another run has just created it
    if experiment.lifecycle_stage != "active":
        raise UserError(f"the MLflow experiment {name!r} is deleted; restore it or set another name")
    if KIND[0] not in experiment.tags:  # of an earlier version, or created by the user
        with suppress(MlflowException):  # the page is a convenience, and others may own the experiment
            client.set_experiment_tag(experiment.experiment_id, *KIND)
    return str(experiment.experiment_id)


def open_parent(client: MlflowClient, experiment: str, key: str, name: str, tags: Mapping[str, str]) -> str:
    """The parent run with this key, set to RUNNING; a new one if there is none or another process uses it."""
    end_abandoned(client, experiment)
    mine = this_process()
    for run in search(client, experiment, f"tags.`{KEY}` = '{key}'"):
        parent, running = str(run.info.run_id), run.info.status == "RUNNING"
        if running and run.data.tags.get(PROCESS) != mine:
            continue
        client.set_tag(parent, PROCESS, mine)
        client.set_tag(parent, HEARTBEAT, _now())
        if not running:
            client.update_run(parent, "RUNNING")
        if FAILED in run.data.tags:
            client.delete_tag(parent, FAILED)
        return parent
    tags = {**tags, KEY: key, PROCESS: mine, HEARTBEAT: _now()}
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _now() -> str:
    return str(round(time.time()))


@contextmanager
def heartbeats(client: MlflowClient, parent: str) -> Iterator[None]:
    """While the block runs, tag the run with the time every INTERVAL seconds;
    a server that does not answer is ignored.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(INTERVAL):
            with suppress(Exception):  # of any server, away for any reason
                client.set_tag(parent, HEARTBEAT, _now())

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _has_ended(run: Run) -> bool:
    """By its process, or, where that cannot be asked because it is of another machine, by its last heartbeat."""
    process, alive = run.data.tags.get(PROCESS, ""), run.data.tags.get(HEARTBEAT)
    if is_here(process) or alive is None:
        return is_dead(process)
    return time.time() - float(alive) > TIMEOUT


def open_child(
    client: MlflowClient, experiment: str, key: str, name: str, began: float, tags: Mapping[str, str]
) -> Run:
    """The child run with this key, in any state, created if missing; its parent is among the tags."""
    for run in client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1):
        return run
    tags, start = {**tags, KEY: key}, round(began * 1000)
    return client.create_run(experiment, start_time=start, run_name=name, tags=tags)


def end_abandoned(client: MlflowClient, experiment: str) -> None:
    """Set runs left open by dead processes, or by machines that are gone, and open children of ended parents, to
    KILLED.

    Ignores a server's refusal to end another user's run.
    """
    running = {str(r.info.run_id): r for r in search(client, experiment, "status = 'RUNNING'")}
    alive = {key for key, run in running.items() if not _has_ended(run)}
    for key, run in running.items():
        if key not in alive or run.data.tags.get(MLFLOW_PARENT_RUN_ID, key) not in alive:
            with suppress(MlflowException):
                client.set_terminated(key, "KILLED")


def log_values(
    client: MlflowClient, run: str, params: Mapping[str, Any], points: Iterable[Point], timed: Timed
) -> None:
    """Log params and metrics in as few calls as MLflow allows, without values that are not finite."""
    entries = [Param(key, str(value)[:6000]) for key, value in params.items()]
    metrics = [
        Metric(
            point.name,
            point.value,
            round((timed.began + (timed.seconds if point.after is None else point.after)) * 1000),
            point.step,
        )
        for point in points
        if np.isfinite(point.value)
    ]
    calls = max(math.ceil(len(entries) / PARAMS), math.ceil(len(metrics) / METRICS))
    for i in range(calls):
        client.log_batch(
            run, params=entries[i * PARAMS : (i + 1) * PARAMS], metrics=metrics[i * METRICS : (i + 1) * METRICS]
        )


def complete(
    client: MlflowClient,
    run: Run,
    timed: Timed,
    params: Mapping[str, Any],
    points: Iterable[Point],
    inputs: Sequence[DatasetInput] = (),
) -> None:
    """Log a child's values and data sets, and set it FINISHED with the end time of its work."""
    log_values(client, run.info.run_id, params, points, timed)
    if inputs:
        client.log_inputs(run.info.run_id, inputs)
    end = round((timed.began + timed.seconds) * 1000)
    client.set_terminated(run.info.run_id, "FINISHED", end)


def log_previews(client: MlflowClient, run: Run, previews: Sequence[tuple[float, Ref]], timed: Timed) -> None:
    """Log preview images by kimg, under the file names that MLflow's page reads.

    `MlflowClient.log_image` would use new names at each call, so that repeating it would add images.
    """
    if not previews:
        return
    stamp = round((timed.began + timed.seconds) * 1000)
    with temporary("augpipe-previews-") as folder:
        for kimg, ref in previews:
            name = f"preview+step+{round(kimg)}+timestamp+{stamp}+{ref.sha256[:32]}"
            with Image.open(ref.path) as picture:
                image = picture.convert("RGB")
            image.save(Path(folder) / f"{name}.png")
            compress_image_size(image).save(Path(folder) / f"{name}+compressed.webp")
        send_folder(client, run.info.run_id, Path(folder), "images")
    client.set_tag(run.info.run_id, MLFLOW_LOGGED_IMAGES, True)
