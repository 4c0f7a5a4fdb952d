"""Start of the command, as a multiple of `python -c "import torch"`: processor time and elapsed time of new processes,
medians.

python tests/benchmarks/bench_start.py [--repeats 5]      exit status 1 if a bound is passed

The bounds are for a machine that imports torch in TORCH seconds, and scale with it: a busy or slow machine is no fault.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

TORCH = 2.0  # seconds of processor time, of the machine that the bounds are for
BOUNDS = {"--help": 0.5, "list families": 1.5, "inspect pictures": 4.0}  # seconds
AUGPIPE = str(Path(sys.executable).parent / "augpipe")


def measured(command: list[str], place: Path) -> tuple[float, float]:
    """Seconds of processor time of a process and those it waits for, and elapsed seconds."""
    variables = {**os.environ, "AUGPIPE_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=place, env=variables, check=True, capture_output=True)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, elapsed


def make_pictures(folder: Path) -> None:
    """20 pictures of 64x64 in two classes."""
    rng = np.random.default_rng(0)
    for row in range(20):
        place = folder / "ab"[row % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{row}.png")


def main() -> int:
    """Measure all commands in turn, so that a load that comes and goes meets each; print a table of Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    commands = {"torch": [sys.executable, "-c", "import torch"]}
    commands |= {words: [AUGPIPE, *words.split()] for words in BOUNDS}
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder) / "pictures")
        for at in range(repeats + 1):
            for name, command in commands.items():
                figures = measured(command, Path(folder))
                if at:  # the first one fills the disk's cache and writes byte code
                    rounds[name].append(figures)
    used = {name: statistics.median(u for u, _ in rows) for name, rows in rounds.items()}
    elapsed = {name: statistics.median(e for _, e in rows) for name, rows in rounds.items()}
    print("| command | processor s | elapsed s | ratio to `import torch` | bound |\n| --- | --- | --- | --- | --- |")
    print(f'| `python -c "import torch"` | {used["torch"]:.2f} | {elapsed["torch"]:.2f} | 1 | |')
    late = []
    for name, bound in BOUNDS.items():
        ratio, most = used[name] / used["torch"], bound / TORCH
        late += [name] * (ratio > most)
        print(f"| `augpipe {name}` | {used[name]:.2f} | {elapsed[name]:.2f} | {ratio:.2f} | {most:.2f} |")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
