"""Tracked runs whose process was killed: no one else would end them."""

from __future__ import annotations

from typing import Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from augpipe.processes import is_dead

PROCESS: Final = "augpipe.process"


def end_orphans(client: MlflowClient, experiment: str) -> list[str]:
    """Runs left open by dead processes, and their children, become KILLED; returns their ids.

    A server that lets this user end no run of another's does not stop the user's own.
    """
    open_ = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000)
    dead = {run.info.run_id for run in open_ if is_dead(run.data.tags.get(PROCESS, ""))}
    ended = []
    for run in open_:
        if run.info.run_id in dead or run.data.tags.get(MLFLOW_PARENT_RUN_ID) in dead:
            try:
                client.set_terminated(run.info.run_id, "KILLED")
            except MlflowException:
                continue
            ended.append(run.info.run_id)
    return ended
