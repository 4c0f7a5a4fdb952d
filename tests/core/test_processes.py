"""A lock says whether a process is alive, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from augpipe.core.processes import hold, is_held

SCRIPT = """
import subprocess, sys, time
from pathlib import Path
from augpipe.core.processes import hold

with hold(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_while_the_block_runs(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one"
    assert not (tmp_path / "locks").exists()
    with hold(path):
        assert is_held(path) and path.exists()
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), hold(path):
        print(1 / 0)
    assert not is_held(path)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_frees_its_lock_though_its_child_lives(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "one"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        assert is_held(path) and path.exists()
        process.send_signal(how)
    os.kill(child, 0)
    try:
        assert path.exists() and not is_held(path) and not path.exists()
    finally:
        os.kill(child, signal.SIGKILL)
