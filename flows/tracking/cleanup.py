"""Delete old runs, with their models and files, from the MLflow store below AUGPIPE_HOME."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.core.store import Store
from augpipe.pipeline.pruning import is_in_use

from ..databases import sqlite_url
from .runs import KEY, end_abandoned
from .store import tracking_uri

BUSY: Final = 10.0  # seconds to wait for another process's transaction


@dataclass(frozen=True)
class Removed:
    """Numbers of runs and of models that were deleted."""

    runs: int
    models: int


def remove_runs(older_than: float, names: Sequence[str] | None = None) -> Removed:
    """Delete augpipe's runs that ended more than `older_than` seconds ago, children and models included.

    names: of the MLflow experiments; None for all. What stays, with all runs of its command: runs of registered models,
    runs that the user has deleted (MLflow can restore them), and runs with files outside AUGPIPE_HOME. Models that
    another run links stay too. UserError while a run is in progress, and if MLFLOW_TRACKING_URI names another store,
    since its owner decides what is deleted there.
    """
    # MLflow sets the variable itself once a run of this process has been tracked.
    if os.environ.get("MLFLOW_TRACKING_URI") not in (None, "", sqlite_url(home() / "mlflow.db")):
        raise UserError(
            "--runs deletes from the store below AUGPIPE_HOME, but MLFLOW_TRACKING_URI names another; unset it, or "
            "delete runs there with MLflow's own commands"
        )
    if is_in_use(Store(home() / "store")):
        raise UserError("a run is in progress, which may link older models; try --runs when it has ended")
    if not (home() / "mlflow.db").exists():
        return Removed(0, 0)
    store = _Tracked()
    runs = list(store.old_runs(1000 * (time.time() - older_than), names))
    models = store.unlinked_models({run.info.run_id for run in runs})
    store.delete(runs, models)
    _shrink(home() / "mlflow.db")
    return Removed(len(runs), len(models))


class _Tracked:
    """All runs of the store, in every experiment and also those that the user has deleted."""

    def __init__(self) -> None:
        uri, artifacts = tracking_uri()
        self._client, self._store = MlflowClient(uri), SqlAlchemyStore(uri, artifacts or uri)
        self._names: dict[str, str] = {}
        self._runs: list[Run] = []
        for experiment in self._client.search_experiments(ViewType.ALL):
            key = experiment.experiment_id
            self._names[key] = experiment.name
            if experiment.lifecycle_stage == LifecycleStage.ACTIVE:
                end_abandoned(self._client, key)
            self._runs += self._all_runs(key)
        versions = self._client.search_model_versions()
        # A version may name its run, its model, or only where its files are.
        self._registered = {str(v) for one in versions for v in (one.run_id, one.model_id) if v}
        self._registered_sources = [str(one.source) for one in versions]

    def _all_runs(self, experiment: str) -> Iterator[Run]:
        page = None
        while True:
            runs = self._client.search_runs([experiment], "", ViewType.ALL, max_results=1000, page_token=page)
            yield from runs
            page = runs.token
            if not page:
                return

    def old_runs(self, until: float, names: Sequence[str] | None) -> Iterator[Run]:
        """The runs of each command that ended before `until` (ms) and may be deleted."""
        commands: dict[str, list[Run]] = {}
        for run in self._runs:
            if KEY in run.data.tags:
                parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID, run.info.run_id)
                commands.setdefault(parent, []).append(run)
        for runs in commands.values():
            if names is not None and self._names[runs[0].info.experiment_id] not in names:
                continue
            if all(self._may_go(run, until) for run in runs):
                yield from runs

    def _may_go(self, run: Run, until: float) -> bool:
        info = run.info
        return (
            info.lifecycle_stage == LifecycleStage.ACTIVE
            and info.status != "RUNNING"
            and info.end_time is not None
            and info.end_time < until
            and not self._is_registered(info.run_id, info.artifact_uri)
            and _below_home(info.artifact_uri) is not None
        )

    def _is_registered(self, key: str, location: str) -> bool:
        by_source = (key in s or s.startswith(location) for s in self._registered_sources)
        return key in self._registered or any(by_source)

    def unlinked_models(self, old: set[str]) -> list[str]:
        """Ids of the models that only the `old` runs link."""
        going: set[str] = set()
        links: set[str] = set()
        for run in self._runs:
            models = {m.model_id for m in run.outputs.model_outputs} if run.outputs else set()
            if KEY not in run.data.tags:  # our runs have no models as inputs, and a search leaves inputs out
                inputs = self._client.get_run(run.info.run_id).inputs
                models |= {m.model_id for m in inputs.model_inputs} if inputs else set()
            (going if run.info.run_id in old else links).update(models)
        return sorted(model for model in going - links if self._model_may_go(model))

    def _model_may_go(self, key: str) -> bool:
        try:
            location = str(self._store.get_logged_model(key).artifact_location)
        except MlflowException:  # the user has deleted it, and may restore it
            return False
        return not self._is_registered(key, location) and _below_home(location) is not None

    def delete(self, runs: Sequence[Run], models: Sequence[str]) -> None:
        """Delete for good. Not by `mlflow gc`:
        it would delete what the user has deleted and may want to restore, too.
        """
        for key in models:
            _delete_files(self._store.get_logged_model(key).artifact_location)
            self._client.delete_logged_model(key)
            self._store._hard_delete_logged_model(key)
        for run in runs:
            _delete_files(run.info.artifact_uri)
            self._client.delete_run(run.info.run_id)
            self._store._hard_delete_run(run.info.run_id)


def _below_home(uri: str) -> Path | None:
    """The folder of a file URI if it is below AUGPIPE_HOME; None elsewhere, as in a home that was copied."""
    if "://" in uri and not uri.startswith("file:"):
        return None
    path = Path(local_file_uri_to_path(uri)).resolve()
    return path if path != home().resolve() and path.is_relative_to(home().resolve()) else None


def _delete_files(uri: str) -> None:
    folder = _below_home(uri)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # of the run or the model; only if it is empty


def _shrink(path: Path) -> None:
    """Give the space of deleted rows back; not while another process uses the database."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=BUSY)) as base:
        base.execute("VACUUM")
