"""Real processes, really stopped: nothing hangs, nothing goes on running, nothing half-written stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest
import warm
from process_trees import family, is_running, processes_of, seconds
from tiny import CONFIG, alone, served


def start(place: Path, own_server: bool = True) -> warm.Running:
    """A run whose classifiers take minutes, with a server of its own or the session's, up to where one learns."""
    (place / "tiny.yaml").write_text(CONFIG)
    temporary = place / "home" / "tmp"
    temporary.mkdir(parents=True)
    command = [
        "run",
        "tiny.yaml",
        "--out",
        "out",
        "--set",
        "seeds=2",
        "--set",
        "classifier.steps=20000",
        "--set",
        "classifier.evaluations=400",
        "--set",
        "generators={}",
        "--set",
        "arms=[{name: real}]",
    ]
    with (
        Path(os.devnull).open("rb") as nothing,
        (place / "home" / "stdout").open("wb") as out,
        (place / "home" / "stderr").open("wb") as err,
    ):
        given = alone(place, TMPDIR=str(temporary))
        if not own_server:
            given = served(place, given)
        process = warm.Running(place, command, given, (nothing, out, err))
    until = time.monotonic() + 300
    while not learning(temporary):
        assert is_running(process.pid) and time.monotonic() < until, said(place)
        time.sleep(0.1)
    return process


def said(place: Path) -> list[str]:
    """What the run has said on each of its streams."""
    return [(place / "home" / name).read_text() for name in ("stdout", "stderr")]


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def learning(temporary: Path) -> bool:
    """Whether some task of the run has gone some way: each tells in a file how far it is."""
    for file in temporary.glob(".augpipe-progress.*/*.json"):
        with suppress(OSError, ValueError):
            if json.loads(file.read_text())["done"] > 0:
                return True
    return False


# Which signal, to whom: the run's own process, all of its terminal or container, or one worker. That a run's own
# Prefect server alone is killed: `test_killed`.
HOW = {
    "ctrl-c": (signal.SIGINT, "all"),
    "ctrl-\\": (signal.SIGQUIT, "all"),
    "terminate": (signal.SIGTERM, "run"),
    "a container stops": (signal.SIGTERM, "all"),
    "a lost terminal": (signal.SIGHUP, "all"),
    "a worker is killed": (signal.SIGKILL, "worker"),
}


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
@pytest.mark.parametrize("how", HOW)
def test_a_run_that_is_stopped(tmp_path: Path, how: str) -> None:
    process = start(tmp_path, own_server=how == "ctrl-c")
    workers = [pid for pid in family(process.pid)[1:] if b"server_process" not in cmdline(pid)]
    number, target = HOW[how]
    begun = time.monotonic()
    if target == "all":
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid if target == "run" else max(workers, key=seconds), number)
    try:
        status = process.wait(60)
    finally:
        for pid in processes_of(tmp_path) if process.returncode is None else []:
            os.kill(pid, signal.SIGKILL)
    took = time.monotonic() - begun
    out, err = said(tmp_path)
    assert took < (5 if number == signal.SIGINT else 30), f"{took:.1f} s to end"
    assert status == (1 if target == "worker" else 128 + number), err[-3000:]
    time.sleep(0.5)
    assert not processes_of(tmp_path)
    assert not (tmp_path / "out").exists() and out == ""
    assert {p.name for p in tmp_path.iterdir()} == {"home", "data", "tiny.yaml"}
    assert not list((tmp_path / "home" / "tmp").iterdir())
    assert not list((tmp_path / "data" / "prefect").glob("run-*"))
    with sqlite3.connect(tmp_path / "data" / "mlflow.db") as base:
        states = {state for (state,) in base.execute("select status from runs")}
    assert states == {"FAILED" if target == "worker" else "KILLED"}
    assert "Run the same command again to continue" in err
    # No task had ended: the last line is the only one, but for notes and those after a minute's silence on a slow
    # machine.
    lines = [line for line in err.splitlines() if not re.match(r"\[0/|starting: |reading images: |no arm has ", line)]
    assert len(lines) == 1, err
    if target == "worker":
        assert "a worker process was killed, often for lack of memory" in err


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_run_whose_home_is_deleted_ends_in_one_line(tmp_path: Path) -> None:
    """What it has made is gone: it does not compute for hours more."""
    process = start(tmp_path, own_server=False)
    below = family(process.pid)
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    assert process.wait(30) == 1, said(tmp_path)
    out, err = said(tmp_path)
    assert out == "" and "Traceback" not in err
    assert err.splitlines()[-1].startswith(
        f"augpipe: the store in {tmp_path / 'data'} was deleted during the run. Run the same"
    )
    assert not list((tmp_path / "home" / "tmp").iterdir()) and not (tmp_path / "out").exists()
    until = time.monotonic() + 15
    while (left := [pid for pid in below if is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.2)
    assert not left


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_run_that_is_killed_leaves_no_server_and_no_worker(tmp_path: Path) -> None:
    """As by the kernel for lack of memory: no code of the run's own process is left to stop anything."""
    process = start(tmp_path)
    below = family(process.pid)
    assert sum(b"server_process" in cmdline(pid) for pid in below) == 1 and len(below) >= 4
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    until = time.monotonic() + 15
    while (left := [pid for pid in below if is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.2)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
