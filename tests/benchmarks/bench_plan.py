"""Expected and measured time of runs on images.

PYTHONPATH=tests python tests/benchmarks/bench_plan.py --out FOLDER [--quick] [--sets NAME ...]

Makes image sets of unlike size, runs each within its budget, and prints what the plan expected, what the run took, and
the ratio, in all and by stage (sums over its tasks, as in the plan). Processor seconds are those of the command and its
processes, and the load is that of the machine: where it does other work too, compare the ratio with the load before
and after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image
from tiny import environment

from augpipe.pipeline.estimate import OTHER, TITLES


class Set(NamedTuple):
    """Side in pixels, channels, images of each class, and the budget of the run."""

    size: int
    channels: int
    counts: tuple[int, ...]
    budget: str


SETS = {
    "digits": Set(28, 1, (150, 80, 45, 25), "5m"),
    "three": Set(64, 3, (420, 190, 90), "5m"),
    "seven": Set(64, 3, (4320, 800, 400, 200, 120, 100, 60), "5m"),
    "two": Set(28, 1, (3500, 1200), "10m"),
    "many": Set(32, 3, (300, 250, 200, 150, 100, 80, 60, 50, 40, 30, 25, 20), "10m"),
    "large": Set(128, 3, (900, 300, 100), "30m"),
}
LINE = re.compile(r"plan: about (?:(\d+) h )?(?:([\d.]+) min)?(?:(\d+) s)? in all")


def write_set(folder: Path, of: Set) -> None:
    """Stars, diamonds, ellipses and squares with stripes, other ones in each class; position, size and colour vary."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: of.size, : of.size] / of.size - 0.5
    for label, n in enumerate(of.counts):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for row in range(n):
            turn, radius, (dx, dy) = (rng.uniform(0, 3), rng.uniform(0.15, 0.3), rng.normal(0, 0.1, 2))
            u = (x - dx) * np.cos(turn) + (y - dy) * np.sin(turn)
            v = (y - dy) * np.cos(turn) - (x - dx) * np.sin(turn)
            power = (0.6, 1.0, 1.6, 3.0, 8.0)[label % 5]
            inside = (np.abs(u) / radius) ** power + (np.abs(v) / radius) ** power < 1
            stripes = 40 * np.sin(8 * (1 + label // 3) * u)[..., None] * inside[..., None]
            pixels = np.where(inside[..., None], rng.uniform(40, 220, 3), rng.uniform(40, 220, 3))
            pixels = pixels + stripes + rng.normal(0, 12, (of.size, of.size, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.convert("RGB" if of.channels == 3 else "L").save(place / f"{row:05d}.png")


def seconds_of(text: str) -> float:
    """The expected seconds in the plan's last line."""
    match = LINE.search(text)
    if match is None:
        raise ValueError(text[-3000:])
    return sum(float(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True))


def measured(records: Path, began: float, ended: float) -> dict[str, float]:
    """Seconds of the tasks of each stage, and of the command before the first task and after the last one.

    The stages that leave no time (reference classifiers) are missing.
    """
    stages, times = dict[str, float](), []
    for path in records.glob("*.json"):
        time_of = json.loads(path.read_text())["result"].get("time")
        if time_of is not None:
            stage = TITLES.get(path.name.rpartition("-")[0], OTHER)
            stages[stage] = stages.get(stage, 0.0) + time_of["seconds"]
            times.append((time_of["began"], time_of["began"] + time_of["seconds"]))
    first, last = min(start for start, _ in times), max(end for _, end in times)
    return {**stages, "before the first of these": first - began, "after the last one": ended - last}


def run_set(name: str, place: Path, budget: list[str]) -> None:
    """Plan and run one set, and print the comparison."""
    of = SETS[name]
    place.mkdir(parents=True)
    write_set(place / "pictures", of)
    command = [str(Path(sys.executable).parent / "augpipe"), "run", "pictures", "--out", "out", *budget]
    if "--quick" not in budget:
        command.append("--explore-only")  # the confirm stage ends when its result is clear, often before its time
    options = {"cwd": place, "env": environment(place), "text": True, "capture_output": True}
    start, load = time.time(), os.getloadavg()[0]
    dry = subprocess.run([*command, "--dry-run"], check=True, **options)
    planned = time.time() - start
    print(dry.stdout, flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.time()
    subprocess.run(command, check=True, **options)
    end = time.time()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    expected, wall = seconds_of(dry.stdout), end - start
    values = yaml.safe_load((place / "out" / "experiment.yaml").read_text())
    numbers = f"{values['image']['size']} px, {len(values['arms'])} arms, {len(values['seeds'])} seeds"
    print(
        f"{name}: {sum(of.counts)} pictures, plan after {planned:.0f} s; {numbers}; expected {expected:.0f} s, "
        f"measured {wall:.0f} s, ratio {expected / wall:.2f}; {processor:.0f} processor seconds, load {load:.1f} to "
        f"{os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for stage, seconds in measured(place / "data" / "store" / "records", start, end).items():
        print(f"  {stage}: {seconds:.0f} s", flush=True)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    budgets = parser.add_mutually_exclusive_group()
    budgets.add_argument("--budget", help="in place of each set's")
    budgets.add_argument("--quick", action="store_true", help="--quick in place of each set's budget")
    given = parser.parse_args()
    for name in given.sets:
        budget = ["--quick"] if given.quick else ["--budget", given.budget or SETS[name].budget]
        run_set(name, given.out / name, budget)


if __name__ == "__main__":
    main()
