"""A comparison through a deployment on real servers: PostgreSQL where there is one, else SQLite, and it says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import mlflow
import numpy as np
import pytest
import warm
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from servers import Mlflow, Postgres, Prefect, postgres_programs
from tiny import CONFIG, environment

from augpipe.pipeline.experiment import load

PATIENCE = 800.0
SMALL = (
    "seeds=1",
    "runner.workers=1",
    "runner.threads=1",
    "generators={smote: {kind: smote}}",
    "arms=[{name: real}, {name: smote, generator: smote, mix: {share: 0.2}}]",
)
CRON = "0 3 1 1 *"  # not while this test runs, but for a few seconds of a year
SECRET = "kingfisher-4711-marmalade"  # planted in the environment; it must turn up nowhere
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "DATABASE_PASSWORD": SECRET,
    "MLFLOW_TRACKING_PASSWORD": SECRET,
    "MLFLOW_TRACKING_USERNAME": "somebody",
}


@dataclass
class Servers:
    prefect: Prefect
    mlflow: Mlflow
    postgres: Postgres | None

    def records(self) -> dict[str, bytes]:
        """All that both servers hold."""
        if self.postgres:
            return {name: self.postgres.dump(name) for name in ("prefect", "mlflow")}
        return {}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    place = tmp_path_factory.mktemp("servers")
    programs = postgres_programs()
    with ExitStack() as ending:
        ending.callback(mlflow.set_tracking_uri, None)
        postgres = None
        if programs is None:
            print("no PostgreSQL on this machine: the servers are on SQLite", file=sys.__stderr__)
        else:
            postgres = Postgres(programs)
            ending.callback(postgres.stop)
        prefect = Prefect(place / "prefect", f"postgresql+asyncpg:{postgres.database('prefect')}" if postgres else None)
        ending.callback(prefect.kill)
        tracking = Mlflow(place / "mlflow", f"postgresql+psycopg2:{postgres.database('mlflow')}" if postgres else None)
        ending.callback(tracking.kill)
        yield Servers(prefect, tracking, postgres)


def ask(servers: Servers, what: str, *given: Any, **named: Any) -> Any:
    """One question to Prefect's server."""

    async def go() -> Any:
        async with get_client() as client:
            return await getattr(client, what)(*given, **named)

    with temporary_settings({PREFECT_API_URL: servers.prefect.url}):
        return asyncio.run(go())


def test_a_comparison_through_a_deployment(servers: Servers, tmp_path: Path) -> None:
    env = environment(
        tmp_path,
        PREFECT_API_URL=servers.prefect.url,
        MLFLOW_TRACKING_URI=servers.mlflow.url,
        PREFECT_RUNNER_POLL_FREQUENCY="1",
        **PLANTED,
    )
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    log = tmp_path / "log"
    command = [
        "serve",
        str(config),
        "--cron",
        CRON,
        "--out",
        "out",
        *(part for one in SMALL for part in ("--set", one)),
    ]
    with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        serving = warm.Running(tmp_path, command, env, (nothing, out, out))
    try:
        until = time.monotonic() + PATIENCE
        while not (found := ask(servers, "read_deployments")):
            assert serving.poll() is None and time.monotonic() < until, log.read_text()[-5000:]
            time.sleep(0.2)
        # As by the page's button; `test_serve` waits for the schedule itself.
        ask(servers, "create_flow_run_from_deployment", found[0].id, name="refresh tiny")
        done = False
        while not done:
            assert serving.poll() is None and time.monotonic() < until, log.read_text()[-5000:]
            time.sleep(0.5)
            runs = ask(servers, "read_flow_runs", sort=FlowRunSort.ID_DESC, limit=200)
            bad = [run for run in runs if run.state_name in ("Failed", "Crashed")]
            assert not bad, (bad[0].state, log.read_text()[-5000:])
            done = any(r.name == "refresh tiny" and r.state_name == "Completed" for r in runs)
    finally:
        os.kill(serving.pid, signal.SIGTERM)
        status = serving.wait(60)
    assert status == 128 + signal.SIGTERM, log.read_text()[-3000:]
    (told,) = [a.data for a in ask(servers, "read_artifacts") if a.key == "tiny-refresh"]
    assert "promoted" in told
    assert (tmp_path / "out" / "report.html").exists()
    artifacts = {a.key: a for a in ask(servers, "read_artifacts")}
    assert {f"tiny-{what}" for what in ("verdict", "arms", "samples", "tracking", "refresh")} <= set(artifacts)
    rows = artifacts["tiny-arms"].data
    rows = json.loads(rows) if isinstance(rows, str) else rows
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(row["arm"] for row in rows) == sorted(summary["arms"])
    link = str(artifacts["tiny-tracking"].data)
    assert servers.mlflow.url in link and "?workflowType=machine_learning" in link
    names = [run.name for run in ask(servers, "read_flow_runs", sort=FlowRunSort.ID_DESC, limit=200)]
    assert "tiny: real, smote; 1 seed" in names
    _form(servers, config)
    _tracked(servers, summary)
    _nothing_leaked(servers, tmp_path, log)


def _form(servers: Servers, config: Path) -> None:
    """The deployment's parameter is the config, typed: the page can make a form of it, and refuses what is none."""
    found = ask(servers, "read_deployment_by_name", "refresh/tiny")
    assert [s.schedule.cron for s in found.schedules] == [CRON]
    schema = found.parameter_openapi_schema
    whole = {**schema, "$defs": schema.get("definitions", schema.get("$defs", {}))}
    values = load(config).model_dump(mode="json")
    jsonschema.validate({"config": values}, whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"config": {**values, "seeds": "many"}}, whole)


def _tracked(servers: Servers, summary: dict[str, Any]) -> None:
    """Every run has ended well, and the registry hands out the champion."""
    mlflow.set_tracking_uri(servers.mlflow.url)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 1 + 2 + 1
    best = max(summary["arms"], key=lambda arm: summary["arms"][arm]["val"])
    version = client.get_model_version_by_alias("tiny-classifier", "champion")
    assert version.tags["augpipe.arm"] == best
    model = mlflow.pyfunc.load_model("models:/tiny-classifier@champion")
    said = model.predict(np.zeros((2, 1, 16, 16), np.uint8)).drop(columns="label").to_numpy()
    assert said.shape == (2, 10) and np.allclose(said.sum(1), 1, atol=1e-3)


def _nothing_leaked(servers: Servers, place: Path, log: Path) -> None:
    """No file, no record and no log of the run holds what the environment keeps to itself."""
    secret = SECRET.encode()
    assert secret not in log.read_bytes()
    for name, dump in servers.records().items():
        assert len(dump) > 10_000 and secret not in dump, name
    seen = 0
    for root in (place / "out", place / "data", servers.mlflow.place, servers.prefect.place):
        for file in root.rglob("*"):
            if file.is_file():
                seen += 1
                assert secret not in file.read_bytes(), file
    assert seen > 100
