"""kill -9 while a generator trains, then go on: the same bytes as an unbroken run, for every family."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import resuming
import warm
from contracts import VARIANTS, tiny

from augpipe.generators import families

# Those that are trained, and of their variants one with an adaptive augmentation and one of single classes; that the
# state of every variant goes through a file is proved in `contracts`.
NAMES = [n for n in families.names() if tiny(n).kimg] + ["cgan, ADA", "progan, per class"]
assert set(NAMES) <= {*families.names(), *VARIANTS}


def start(folder: Path) -> warm.Running:
    folder.mkdir()
    return warm.begin(folder, resuming.main, folder, NAMES)


# After which tick, and how long after it was told (a checkpoint follows): a process is killed before, in and after
# that.
MOMENTS = {name: (1 + at % 4, (0.0, 0.01, 0.03)[at % 3]) for at, name in enumerate(NAMES)}


def kill_each_once(process: warm.Running) -> tuple[list[str], str]:
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
    whole, broken = (start(tmp_path / name) for name in ("whole", "broken"))
    killed, said = kill_each_once(broken)
    assert broken.wait(60) == 0 and killed == NAMES, said
    broken.stdout.close()
    out, _ = whole.communicate(300)
    assert whole.returncode == 0, out
    for name in NAMES:
        digests = [(tmp_path / run / f"{name}.sha256").read_text() for run in ("whole", "broken")]
        assert digests[0] == digests[1], f"{name} differs after a kill"
    assert out.count("\n") == 6 * len(NAMES)
