"""kill -9 while a generator trains, then go on: the same bytes as an unbroken run, for every family."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from contracts import VARIANTS, tiny

from augpipe.generators import families

NAMES = [
    name for name in (*families.names(), *VARIANTS) if tiny(name).kimg
]  # those that are trained
WORKER = Path(__file__).parents[1] / "resuming.py"


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *NAMES], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed_at(folder: Path, kills: dict[str, int], rng: random.Random) -> bool:
    """Run until some family's turn to be killed comes; whether everything is finished."""
    ticks: dict[str, int] = {}
    with start(folder) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            name = line.split("|")[0]
            ticks[name] = ticks.get(name, 0) + 1
            if ticks[name] == kills.get(name):
                time.sleep(rng.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
                del kills[name]
                return False
        assert process.wait() == 0, process.stderr.read()
    return True


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    seed = time.time_ns()  # any moment will do: each run tries others
    rng = random.Random(seed)
    kills = {name: rng.randint(1, 4) for name in NAMES}
    broken = tmp_path / "broken"
    for _ in range(len(NAMES) + 1):
        if killed_at(broken, kills, rng):
            break
    out, err = whole.communicate()
    assert whole.returncode == 0, err
    assert kills == {}  # every one was killed once
    for name in NAMES:
        told = [(tmp_path / run / f"{name}.sha256").read_text() for run in ("whole", "broken")]
        assert told[0] == told[1], f"{name} differs after a kill (seed {seed})"
    assert out.count("\n") == 6 * len(NAMES)
