"""The demo killed at ten random moments, and one unbroken: python tests/benchmarks/bench_kills.py --out FOLDER [--kills 10].

Each time every process of the run is killed with SIGKILL and `augpipe run --resume` goes on. In the end scores.csv must be the
unbroken run's to the byte, no record that was finished may have been made again, and no tracked run may be open or twice
there. Writes kills.csv: when each kill came, by the clock and by what was finished then.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from process_trees import family
from tiny import ROOT, environment

DEMO = ROOT / "configs" / "digits.yaml"


def start(place: Path, *more: str) -> subprocess.Popen[bytes]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "augpipe"), "run", str(DEMO), "--out", "out", *more],
            cwd=place, env=environment(place), stdout=log, stderr=log,
        )  # fmt: skip


def records(place: Path) -> dict[str, int]:
    return {p.name: p.stat().st_ino for p in (place / "data" / "store").glob("records/*")}


def kill(process: subprocess.Popen[bytes]) -> None:
    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    begun = time.monotonic()
    assert start(given.out / "whole").wait() == 0
    took = time.monotonic() - begun
    print(f"unbroken: {took:.0f} s", flush=True)
    rng, rows, place = random.Random(time.time_ns()), [], given.out / "broken"
    made: dict[str, int] = {}
    for turn in range(given.kills):
        more = ["--resume"] if turn else []
        process, began = start(place, *more), time.monotonic()
        # A run that goes on is shorter each time: moments are drawn from start-up to somewhat past the middle of one.
        process_ended = False
        try:
            process.wait(rng.uniform(8, 8 + 0.3 * took))
            process_ended = True
        except subprocess.TimeoutExpired:
            kill(process)
        now = records(place)
        again = [name for name, inode in made.items() if now.get(name) != inode]
        assert not again, again
        stages = sorted({name.rpartition("-")[0] for name in set(now) - set(made)})
        made = now
        rows.append(
            (
                turn + 1,
                round(time.monotonic() - began, 1),
                len(now),
                process_ended,
                " ".join(stages),
            )
        )
        print(*rows[-1], flush=True)
    assert start(place, "--resume").wait() == 0
    after = records(place)
    assert {name: after[name] for name in made} == made, "something was made twice"
    scores = [(given.out / one / "out" / "scores.csv").read_bytes() for one in ("whole", "broken")]
    assert scores[0] == scores[1], "scores differ"
    client = MlflowClient(f"sqlite:///{place / 'data' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    assert not [run for run in runs if run.info.status == "RUNNING"]
    for parent in runs:
        if parent.data.tags["augpipe.kind"] == "comparison" and parent.info.status == "FINISHED":
            names = [
                (r.data.tags["augpipe.kind"], r.info.run_name) for r in runs
                if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id
            ]  # fmt: skip
            assert len(names) == len(set(names))
    columns = ["kill", "seconds", "finished before", "had ended", "finished since the last"]
    pd.DataFrame(rows, columns=columns).to_csv(given.out / "kills.csv", index=False)
    print(
        f"{given.kills} kills: scores.csv equal to the byte, {len(made)} results kept, none made twice"
    )


if __name__ == "__main__":
    main()
