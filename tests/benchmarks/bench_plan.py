"""Expected and measured time of runs on images.

PYTHONPATH=tests python tests/benchmarks/bench_plan.py --out FOLDER [--sets NAME ...] [--quick] [--processor] [--set KEY=VALUE ...]

Makes image sets of unlike size, plans and runs each within its budget, and prints what the plan expected, what the run
took, and the ratio, in all and by stage (sums over its tasks, as in the plan). With --processor the plan and the stages
are timed in processor seconds, which other work on the machine disturbs little: the budget is then one of a machine that
does nothing else, and so are the numbers that the plan chooses; the sum of the stages is compared, not the minutes.
"""

from __future__ import annotations

import argparse
import json
import os
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
# The clock of the plan and of the stages (`pipeline.context.Timer`), in every process of the command.
PROCESSOR = "import time\ntime.perf_counter = time.process_time\n"


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


def expected_of(plans: Path) -> tuple[dict[str, float], float]:
    """Expected seconds of each stage and in all, of the only stored plan."""
    (path,) = plans.glob("*.json")
    estimate = json.loads(path.read_text())["estimate"]
    return {row["stage"]: row["seconds"] for row in estimate["rows"]}, estimate["seconds"]


def measured_of(records: Path) -> dict[str, float]:
    """Seconds of the tasks of each stage; reference classifiers leave no time."""
    stages = dict[str, float]()
    for path in records.glob("*.json"):
        time_of = json.loads(path.read_text())["result"].get("time")
        if time_of is not None:
            stage = TITLES.get(path.name.rpartition("-")[0], OTHER)
            stages[stage] = stages.get(stage, 0.0) + time_of["seconds"]
    return stages


def run_set(name: str, place: Path, options: list[str], clock: str) -> None:
    """Plan and run one set, and print the comparison."""
    of = SETS[name]
    place.mkdir(parents=True)
    write_set(place / "pictures", of)
    (place / "clock").mkdir()
    (place / "clock" / "sitecustomize.py").write_text(clock)
    command = [str(Path(sys.executable).parent / "augpipe"), "run", "pictures", "--out", "out", *options]
    given = {"cwd": place, "env": environment(place, PYTHONPATH=str(place / "clock")), "text": True}

    def call(*more: str) -> tuple[float, float, str]:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([*command, *more], check=False, capture_output=True, **given)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - start, used, done.stdout

    load = os.getloadavg()[0]
    planned, planned_used, text = call("--dry-run")
    print(text, flush=True)
    wall, used, _ = call()
    rows, total = expected_of(place / "data" / "plans")
    values = yaml.safe_load((place / "out" / "experiment.yaml").read_text())
    numbers = f"{values['image']['size']} px, {len(values['arms'])} arms, {len(values['seeds'])} seeds"
    print(
        f"{name}: {sum(of.counts)} pictures, {numbers}; plan after {planned:.0f} s ({planned_used:.0f} of the processor); "
        f"expected {total:.0f} s, measured {wall:.0f} s, ratio {total / wall:.2f}; {used:.0f} processor seconds, load "
        f"{load:.1f} to {os.getloadavg()[0]:.1f}"
    )
    measured = measured_of(place / "data" / "store" / "records")
    for stage, seconds in rows.items():
        print(f"  {stage}: expected {seconds:.1f}, measured {measured.get(stage, float('nan')):.1f}", flush=True)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    budgets = parser.add_mutually_exclusive_group()
    budgets.add_argument("--budget", help="in place of each set's")
    budgets.add_argument("--quick", action="store_true", help="--quick in place of each set's budget")
    parser.add_argument("--processor", action="store_true", help="time the plan and the stages in processor seconds")
    parser.add_argument("--set", nargs="+", default=[], help="settings of the runs")
    given = parser.parse_args()
    for name in given.sets:
        # The confirm stage ends when its result is clear, often before its time.
        options = ["--quick"] if given.quick else ["--budget", given.budget or SETS[name].budget, "--explore-only"]
        options += ["--set", *given.set] if given.set else []
        run_set(name, given.out / name, options, PROCESSOR if given.processor else "")


if __name__ == "__main__":
    main()
