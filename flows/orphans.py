"""Tracked runs whose process was killed: no one else would end them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from augpipe.core.processes import is_dead

PROCESS: Final = "augpipe.process"


def _open(client: MlflowClient, experiment: str) -> Iterator[Run]:
    page = None
    while True:
        found = client.search_runs(
            [experiment], "attributes.status = 'RUNNING'", max_results=1000, page_token=page
        )
        yield from found
        page = found.token
        if not page:
            return


def end_orphans(client: MlflowClient, experiment: str) -> list[str]:
    """Runs left open by dead processes, and children whose parent has ended, become KILLED; returns their ids.

    A server that lets this user end no run of another's does not stop the user's own.
    """
    open_ = list(_open(client, experiment))
    dead = {run.info.run_id for run in open_ if is_dead(run.data.tags.get(PROCESS, ""))}
    alive = {run.info.run_id for run in open_} - dead
    ended = []
    for run in open_:
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
        if run.info.run_id in dead or (parent is not None and parent not in alive):
            try:
                client.set_terminated(run.info.run_id, "KILLED")
            except MlflowException:
                continue
            ended.append(run.info.run_id)
    return ended
