"""Equal arms over one and two Dask workers: python tests/benchmarks/bench_scaling.py --out FOLDER [--arms 32] [--steps
300].

Wall time of a comparison of equal arms on one seed, with one worker and with two, in turn, and what a run costs
besides: bytes in the store, and the processor's seconds of the run itself with its own Prefect server, workers left
out. Writes scaling.csv.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml
from servers import Cluster
from tiny import environment

CONFIG = {
    "name": "scaling",
    "source": {"kind": "bundled", "name": "digits"},
    "image": {"size": 16, "channels": 1},
    "imbalance": {"profile": "step", "classes": [7, 8, 9], "keep": 0.1},
    "seeds": 1,
    "baseline": "arm 0",
}


def run(place: Path, arms: int, steps: int, workers: int) -> tuple[float, int, float]:
    """Seconds of the whole command, bytes in its store, and the processor's seconds of the command."""
    place.mkdir(parents=True)
    values = CONFIG | {
        "classifier": {"width": 1.0, "steps": steps, "evaluations": 2},
        # Each has a loss of its own, so that none is recalled from another.
        "arms": [
            {"name": f"arm {n}", "mix": {"loss": {"kind": "cross_entropy", "smoothing": n / 1000}}} for n in range(arms)
        ],
    }
    (place / "scaling.yaml").write_text(yaml.safe_dump(values))
    cluster = Cluster(place / "cluster", workers)
    try:
        cluster.wait()
        begun, before = time.monotonic(), _processor()
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "augpipe"),
                "run",
                "scaling.yaml",
                "--out",
                "out",
                "--set",
                "runner.kind=dask",
                "--set",
                f"runner.address={cluster.address}",
            ],
            cwd=place,
            env=environment(place),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, spent = time.monotonic() - begun, _processor() - before
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        cluster.stop()
    stored = sum(f.stat().st_size for f in (place / "data" / "store").rglob("*") if f.is_file())
    return seconds, stored, spent


def _processor() -> float:
    """Seconds of processes that were waited for: the command and its server; workers are not, yet."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    rows = []
    # What a run costs without arms to speak of: its servers, its report.
    for workers, arms in ((1, 1), (1, given.arms), (2, given.arms)):
        seconds, stored, spent = run(given.out / f"{workers}-{arms}", arms, given.steps, workers)
        rows.append((workers, arms, round(seconds, 1), stored, round(spent, 1)))
        print(*rows[-1], flush=True)
    alone, one, two = (row[2] for row in rows)
    print(
        f"two workers over one: {one / two:.2f} times as fast; without what one arm takes "
        f"{(one - alone) / (two - alone):.2f}"
    )
    table = pd.DataFrame(rows, columns=["workers", "arms", "seconds", "bytes in the store", "processor seconds"])
    table.to_csv(given.out / "scaling.csv", index=False)


if __name__ == "__main__":
    main()
