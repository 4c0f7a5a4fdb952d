"""Real processes, really stopped: nothing hangs, nothing goes on running, nothing half-written stays."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from process_trees import processes_of
from tiny import CONFIG, environment


def start(place: Path) -> subprocess.Popen[str]:
    """A run whose classifiers take minutes, up to where one learns."""
    (place / "tiny.yaml").write_text(CONFIG)
    temporary = place / "home" / "tmp"
    temporary.mkdir(parents=True)
    command = [
        str(Path(sys.executable).parent / "augpipe"), "run", "tiny.yaml", "--out", "out", "--set", "seeds=2",
        "--set", "classifier.steps=20000", "--set", "classifier.evaluations=400", "--set", "generators={}", "--set", "arms=[{name: real}]",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=place, env=environment(place, TMPDIR=str(temporary)), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Started in the background of a script, this test has SIGINT ignored, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 300
    while not learning(temporary):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    return process


def learning(temporary: Path) -> bool:
    """Whether some task of the run has gone some way: each tells in a file how far it is."""
    for file in temporary.glob("augpipe-progress-*/*.json"):
        with suppress(OSError, ValueError):
            if json.loads(file.read_text())["done"] > 0:
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
@pytest.mark.parametrize("how", ["ctrl-c", "terminate", "a worker is killed"])
def test_a_run_that_is_stopped(tmp_path: Path, how: str) -> None:
    process = start(tmp_path)
    workers = [
        pid for pid in processes_of(tmp_path)
        if b"multiprocessing.spawn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]  # fmt: skip
    assert workers
    begun = time.monotonic()
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    elif how == "terminate":
        process.terminate()
    else:
        os.kill(workers[0], signal.SIGKILL)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        for pid in processes_of(tmp_path) if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
    seconds = time.monotonic() - begun
    assert seconds < (5 if how == "ctrl-c" else 30), f"{seconds:.1f} s to end"
    assert process.returncode == {"ctrl-c": 130, "terminate": 143, "a worker is killed": 1}[how], (
        err[-3000:]
    )
    time.sleep(0.5)
    assert not processes_of(tmp_path)
    assert not (tmp_path / "out").exists() and out == ""
    assert {p.name for p in tmp_path.iterdir()} == {"home", "data", "tiny.yaml"}
    with sqlite3.connect(tmp_path / "data" / "mlflow.db") as base:
        states = {state for (state,) in base.execute("select status from runs")}
    assert states == {"FAILED" if how == "a worker is killed" else "KILLED"}
    assert "Run the same command again to continue" in err
    if how != "a worker is killed":
        assert "Traceback" not in err and "Warning" not in err and "Error logging" not in err
    if how == "a worker is killed":
        assert "a worker process was killed, often for lack of memory" in err
