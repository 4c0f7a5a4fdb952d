"""A run over a Dask scheduler and two workers, each a process with a folder of its own; one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from in_process import call
from servers import Cluster
from tiny import CONFIG, ONE, Ran, environment, served, until

ARMS = ("real", "acgan")  # as in `tiny`: the others change nothing of theirs
SETS = [
    part
    for one in (
        *ONE,
        "arms=[{name: real}, {name: acgan, generator: acgan, mix: {fill: 0.5, share: 0.3, sampler: balanced}}]",
    )
    for part in ("--set", one)
]


def of_arms(table: Path) -> list[str]:
    """The lines of a scores.csv or fidelity.csv that are about these arms, or their generators."""
    return [line for line in table.read_text().splitlines() if line.split(",")[0] in ARMS]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()


def test_a_worker_is_killed_and_the_result_is_that_of_one_machine(
    tmp_path: Path, cluster: Cluster, single: Ran
) -> None:
    place = tmp_path / "spread"
    place.mkdir()
    (place / "tiny.yaml").write_text(CONFIG)
    # As it is installed: the scheduler imports the tasks' module by its name.
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "augpipe"),
            "run",
            "tiny.yaml",
            "--out",
            "out",
            *SETS,
            "--set",
            "runner.kind=dask",
            "--set",
            f"runner.address={cluster.address}",
        ],
        cwd=place,
        text=True,
        env=served(place, environment(place)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = until(process, "scored")
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=600)
    said += rest
    assert process.returncode == 0, said[-5000:]
    for name in ("scores.csv", "fidelity.csv"):
        lines = of_arms(place / "out" / name)
        assert lines == of_arms(single.folder / name) and len(lines) > 100, name
    assert json.loads((place / "out" / "summary.json").read_text())["failed"] == {}
    # Nothing of a worker's lies in its own folder: what was made is in the one store.
    for n in range(2):
        assert not list((tmp_path / "cluster" / f"worker-{n}").glob("data/store/images/*"))
    assert list((place / "data" / "store" / "classifiers").glob("*.pt"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["runner.kind=dask"], "scheduler address such as tcp://127.0.0.1:8786; got None"),
        (["runner.kind=dask", "runner.address=nowhere"], "got 'nowhere'"),
        (["runner.address=tcp://127.0.0.1:1"], "set runner.kind: dask"),
        (["runner.kind=dask", "runner.address=tcp://127.0.0.1:1"], "no Dask scheduler answers at runner.address"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, given: list[str], said: str, monkeypatch, capsys) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PREFECT_API_URL", warm.prefect())
    monkeypatch.setattr("flows.engine.PATIENCE", 1.0)
    sets = [part for one in given for part in ("--set", one)]
    status, told = call(monkeypatch, capsys, "run", "tiny.yaml", *sets)
    assert status == 2 and said in told and "Traceback" not in told, told
