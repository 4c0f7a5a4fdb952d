"""The demo as `make demo` runs it: processor time, memory, cost of tracking, and whether it says what it should.

python tests/benchmarks/bench_demo.py     (in a folder of its own; some minutes). Ends with 1 if a bound does not hold.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the demo and print each figure with its bound."""
    place = Path(tempfile.mkdtemp(prefix="augpipe-demo-"))
    (place / "home").mkdir()
    begun = time.perf_counter()
    command = [
        str(Path(sys.executable).parent / "augpipe"),
        "run",
        str(ROOT / "configs" / "digits.yaml"),
        "--out",
        "demo",
    ]
    subprocess.run(command, cwd=place, check=True, env={"HOME": str(place / "home")})
    seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads((place / "demo" / "summary.json").read_text())
    figures = pd.read_csv(place / "demo" / "fidelity.csv", keep_default_na=False)
    acgan = figures[(figures.generator == "acgan") & (figures["class"] == "")]
    with sqlite3.connect(place / "data" / "mlflow.db") as base:
        ((tracking,),) = base.execute("select value from latest_metrics where key = 'tracking_seconds'")
    spent = used.ru_utime + used.ru_stime
    rows = [  # figure, value, lowest, highest
        ("processor seconds: 4 minutes of 2 cores", spent, 0.0, 480.0),
        ("GB in the largest process", used.ru_maxrss / 1e6, 0.0, 1.5),
        ("share of the run's time that tracking takes", tracking / seconds, 0.0, 0.02),
        ("macro recall of the worst arm", min(arm["mean"] for arm in summary["arms"].values()), 0.8, 1.0),
        ("agreement of the generator's images", float(acgan.set_index("metric").value["agreement"]), 0.9, 1.0),
    ]
    for name, value, low, high in rows:
        print(f"{'ok  ' if low <= value <= high else 'FAIL'} {name}: {value:.3g} ({low:g} to {high:g})")
    return int(any(not low <= value <= high for _, value, low, high in rows))


if __name__ == "__main__":
    sys.exit(main())
