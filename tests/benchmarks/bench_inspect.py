"""`augpipe inspect` measured: seconds and peak memory on a folder of many pictures, and on Fashion-MNIST's files.

python tests/benchmarks/bench_inspect.py [--images 200000] [--root FOLDER with FashionMNIST/raw]
Pictures of 64x64 in ten classes are made below a temporary folder first; that is not counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

AT_ONCE = 2000


def make(job: tuple[Path, int]) -> None:
    """One sub-folder of different pictures."""
    root, part = job
    rng = np.random.default_rng(part)
    folder = root / f"class{part % 10}" / f"part{part}"
    folder.mkdir(parents=True)
    for i in range(AT_ONCE):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BILINEAR).save(folder / f"{i}.png", compress_level=1)


def measure(what: str, arguments: list[str]) -> None:
    """Run the command and print seconds and the peak resident memory of its process."""
    with tempfile.TemporaryDirectory() as place:
        command = [str(Path(sys.executable).parent / "augpipe"), "inspect", *arguments]
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--out", f"{place}/out"], cwd=place, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        print(f"{what}: {seconds:.1f} s, {used.ru_maxrss / 1e6:.2f} GB at its peak, status {status}")


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "pictures"
        with Pool() as pool:
            pool.map(make, [(root, part) for part in range(asked.images // AT_ONCE)])
        measure(f"{asked.images} pictures of 64x64", [str(root)])
    if asked.root is not None:
        config = str(Path(__file__).resolve().parents[2] / "configs" / "fashion.yaml")
        places = ["--set", "source.download=false", "--set", f"source.root={asked.root}"]
        for _ in range(3):
            measure("Fashion-MNIST, 70000 images", [config, *places])


if __name__ == "__main__":
    main()
