"""Runs a second that MLflow's server, and tasks a second that Prefect's takes, on PostgreSQL: python
tests/benchmarks/bench_tracking.py [--runs 40] [--clients 1 4].

Each client makes the calls that a run of an arm comes to (run, params, metrics, model of 100 KB, data set, end). The
tasks do nothing, and eight of them run at a time. Without PostgreSQL the server is on SQLite, and it says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param
from servers import Mlflow, Postgres, Prefect, postgres_programs

TASKS = 400
FLOW = """
import sys, time
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
@task
def nothing(n: int) -> int:
    return n
@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def many(n: int) -> float:
    begun = time.monotonic()
    nothing.map(list(range(n))).result()
    return n / (time.monotonic() - begun)
many(8)
print(f"Prefect: {many(int(sys.argv[1])):.1f} tasks a second")
"""
METRICS, PARAMS = 150, 60  # of an arm of the demo


def arms(url: str, experiment: str, n: int) -> float:
    """Seconds that n arms take."""
    client = MlflowClient(url)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "weights.pt").write_bytes(os.urandom(100_000))
        for at in range(n):
            run = client.create_run(experiment, run_name=f"arm {at}").info.run_id
            model = client.create_logged_model(experiment, "classifier", source_run_id=run)
            client.log_model_artifacts(model.model_id, folder)
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
            client.log_batch(
                run,
                params=[Param(f"p{i}", str(i)) for i in range(PARAMS)],
                metrics=[Metric(f"m{i}", float(i), 0, 0) for i in range(METRICS)],
            )
            client.set_terminated(run)
    return time.monotonic() - begun


def orchestrated(place: Path, postgres: Postgres | None) -> None:
    """Tasks a second of a flow whose tasks do nothing."""
    database = f"postgresql+asyncpg:{postgres.database('prefect')}" if postgres else None
    server = Prefect(place / "prefect", database)
    try:
        subprocess.run(
            [sys.executable, "-c", FLOW, str(TASKS)],
            check=True,
            env={**os.environ, "PREFECT_API_URL": server.url, "PREFECT_LOGGING_LEVEL": "ERROR"},
        )
    finally:
        server.kill()


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    given = parser.parse_args()
    programs = postgres_programs()
    postgres = Postgres(programs) if programs else None
    with tempfile.TemporaryDirectory() as place:
        backend = f"postgresql+psycopg2:{postgres.database('mlflow')}" if postgres else None
        server = Mlflow(Path(place), backend)
        try:
            experiment = MlflowClient(server.url).create_experiment("bench")
            arms(server.url, experiment, 2)
            for clients in given.clients:
                with ProcessPoolExecutor(clients) as pool:
                    each = given.runs // clients
                    begun = time.monotonic()
                    list(pool.map(arms, *zip(*[(server.url, experiment, each)] * clients, strict=True)))
                    seconds = time.monotonic() - begun
                on = "PostgreSQL" if postgres else "SQLite"
                rate = clients * each / seconds
                print(f"{clients} clients on {on}: {rate:.1f} runs a second, {rate * METRICS:.0f} metrics", flush=True)
            orchestrated(Path(place), postgres)
        finally:
            server.kill()
            if postgres:
                postgres.stop()


if __name__ == "__main__":
    main()
