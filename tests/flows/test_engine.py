from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import ROOT, environment

from augpipe.core import device as runtime
from augpipe.core.errors import UserError
from augpipe.pipeline.experiment import Runner
from flows import engine


def test_workers_share_the_cores() -> None:
    n = runtime.cores()

    def shared(workers: int | str, jobs: int, **more: Any) -> tuple[int, int]:
        return engine.workers_and_threads(Runner(workers=workers, device="cpu", **more), jobs)

    assert shared("auto", jobs=100) == (n, 1)
    assert shared(1, jobs=100) == (1, n)
    assert shared("auto", jobs=1) == (1, n)
    assert shared(8 * n, jobs=100) == (8 * n, 1)
    assert shared(1, jobs=100, threads=7) == (1, 7)
    # A Dask worker may stand on any machine, beside any number of others.
    dask = {"kind": "dask", "address": "tcp://127.0.0.1:8786"}
    assert shared(1, jobs=100, **dask)[1] == 1 and shared(1, jobs=100, threads=3, **dask)[1] == 3


def test_prefects_home_is_below_ours_unless_there_is_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", "kept")
    engine.settle()
    assert not (tmp_path / "data").exists()
    monkeypatch.delenv("PREFECT_HOME")
    (tmp_path / ".prefect").mkdir()
    engine.settle()
    assert not (tmp_path / "data").exists()
    (tmp_path / ".prefect").rmdir()
    import os

    engine.settle()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "data" / "prefect")
    assert (tmp_path / "data" / "prefect").is_dir()
    monkeypatch.delenv("PREFECT_HOME")


def test_only_the_users_mistakes_are_kept_from_the_log() -> None:
    def record(error: BaseException | None) -> logging.LogRecord:
        told = (type(error), error, None) if error else None
        return logging.LogRecord("x", logging.ERROR, "f", 1, "m", (), told)

    assert not engine._not_the_users_mistakes(record(UserError("x")))
    assert engine._not_the_users_mistakes(record(ValueError("x")))
    assert engine._not_the_users_mistakes(record(None))


def test_nothing_phones_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    assert os.environ["DO_NOT_TRACK"] == "1" and os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from mlflow.telemetry.utils import is_telemetry_disabled
    from prefect.settings import get_current_settings

    assert is_telemetry_disabled()
    assert not get_current_settings().server.analytics_enabled


STOPPED = """
import time
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from augpipe.pipeline.experiment import Runner
from flows.engine import pool, prefect_api, stop_workers

@task(cache_policy=NO_CACHE, persist_result=False)
def sleep(data):
    time.sleep(600)

@flow(task_runner=pool(Runner(device="cpu"), 1, 1))
def full():
    # More than a pipe holds: the rest waits to be sent to a worker.
    for _ in range(6):
        sleep.submit(bytes(10**6))
    time.sleep(8)
    print("stopping", flush=True)
    stop_workers()
    raise RuntimeError("stopped")

if __name__ == "__main__":
    with prefect_api():
        full()
"""


def test_workers_that_are_ended_with_much_to_come_leave_nothing_waiting(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED)
    env = environment(tmp_path, AUGPIPE_HOME=str(tmp_path / "data"), PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "stopped.py"], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert "stopping" in done.stdout, done.stderr[-3000:]
    assert done.returncode == 1 and "RuntimeError: stopped" in done.stderr
