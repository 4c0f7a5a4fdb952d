"""Tracked runs whose process was killed: no one else would end them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

PROCESS: Final = "augpipe.process"


def this_process() -> str:
    """Host, process and when it began: a process id comes again, with another beginning."""
    return f"{socket.gethostname()} {os.getpid()} {_began(os.getpid())}"


def _began(pid: int) -> str:
    """Clock ticks between the machine's start and the process's; "" where that cannot be known."""
    try:
        # The name, in brackets, may hold spaces; the beginning is the 22nd field (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(process: str) -> bool:
    """Whether a process of this host has ended; one of another host is taken for alive."""
    host, _, rest = process.partition(" ")
    pid, _, began = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _began(int(pid)) != began


def end_orphans(client: MlflowClient, experiment: str) -> list[str]:
    """Runs left open by dead processes, and their children, become KILLED; returns their ids."""
    open_ = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000)
    dead = {run.info.run_id for run in open_ if is_dead(run.data.tags.get(PROCESS, ""))}
    ended = [
        run.info.run_id
        for run in open_
        if run.info.run_id in dead or run.data.tags.get(MLFLOW_PARENT_RUN_ID) in dead
    ]
    for run_id in ended:
        client.set_terminated(run_id, "KILLED")
    return ended
