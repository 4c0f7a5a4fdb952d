"""Runs a second that an MLflow server on PostgreSQL takes: python tests/bench_tracking.py [--runs 40] [--clients 1 4].

Each client makes the calls that a run of an arm comes to (run, params, metrics, model of 100 KB, data set, end). Without PostgreSQL the
server is on SQLite, and it says so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param
from servers import Mlflow, Postgres, postgres_programs

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
                    list(
                        pool.map(
                            arms, *zip(*[(server.url, experiment, each)] * clients, strict=True)
                        )
                    )
                    seconds = time.monotonic() - begun
                on = "PostgreSQL" if postgres else "SQLite"
                rate = clients * each / seconds
                print(
                    f"{clients} clients on {on}: {rate:.1f} runs a second, {rate * METRICS:.0f} metrics",
                    flush=True,
                )
        finally:
            server.kill()
            if postgres:
                postgres.stop()


if __name__ == "__main__":
    main()
