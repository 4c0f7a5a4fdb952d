"""kill -9 while a generator trains, then go on: the same bytes as an unbroken run, for every family."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from contracts import VARIANTS, tiny

from augpipe.generators import families

# Those that are trained, and of their variants one with an adaptive augmentation and one of single classes; that the state of
# every variant goes through a file is proved in `contracts`.
NAMES = [n for n in families.names() if tiny(n).kimg] + ["cgan, ADA", "progan, per class"]
assert set(NAMES) <= {*families.names(), *VARIANTS}
WORKER = Path(__file__).parents[1] / "resuming.py"


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *NAMES], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# After which tick, and how long after it was told (a checkpoint follows): a process is killed before, in and after that.
MOMENTS = {name: (1 + at % 4, (0.0, 0.01, 0.03)[at % 3]) for at, name in enumerate(NAMES)}


def kill_each_once(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """Kill each family's process at its moment; who was killed, and all that was said."""
    ticks: dict[str, int] = {}
    killed, said = [], ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        name, pid = line.rstrip().split("|")
        ticks[name] = ticks.get(name, 0) + 1
        if name not in killed and ticks[name] == MOMENTS[name][0]:
            time.sleep(MOMENTS[name][1])
            os.kill(int(pid), signal.SIGKILL)
            killed.append(name)
    return killed, said


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    with start(tmp_path / "whole") as whole, start(tmp_path / "broken") as broken:
        killed, _ = kill_each_once(broken)
        assert broken.wait() == 0 and killed == NAMES
        out, err = whole.communicate()
    assert whole.returncode == 0, err
    for name in NAMES:
        digests = [(tmp_path / run / f"{name}.sha256").read_text() for run in ("whole", "broken")]
        assert digests[0] == digests[1], f"{name} differs after a kill"
    assert out.count("\n") == 6 * len(NAMES)
