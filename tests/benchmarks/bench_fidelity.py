"""How long judging takes: every metric and every check over 10,000 real and 10,000 synthetic 32x32 images.

python tests/benchmarks/bench_fidelity.py [--images N] [--threads N] [--neighbours N]

Prints seconds for each metric (of all images together), for the whole table (overall and ten classes), for the
checks, and the peak resident memory. --neighbours: instead, the nearest of N points of each of N queries.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from augpipe.classifiers.options import ClassifierOptions
from augpipe.core import device as runtime
from augpipe.core import neighbours
from augpipe.core.images import ImageSet, Splits, provenance
from augpipe.core.store import Store
from augpipe.pipeline.stages.train_classifier import fit_reference
from augpipe.synthetic import fidelity
from augpipe.synthetic.curation import Curator, Reference
from augpipe.synthetic.embeddings import FeatureExtractor
from augpipe.synthetic.fidelity import Compared
from augpipe.synthetic.options import Curation

CLASSES = 10


def pictures(n: int, seed: int) -> ImageSet:
    """Coloured bars at a class's own height, over noise, uint8 (N,3,32,32)."""
    rng = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % CLASSES)
    images = rng.integers(0, 80, (n, 3, 32, 32), dtype=np.uint8)
    for row, label in enumerate(labels):
        top, left = 2 * label + rng.integers(0, 6), rng.integers(0, 12)
        images[row, :, top : top + 4, left : left + 18] = rng.integers(120, 255, (3, 1, 1))
    names = tuple(str(c) for c in range(CLASSES))
    return ImageSet(images, labels, names, provenance([f"{seed}/{row}" for row in range(n)]))


@contextmanager
def timed(what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    print(f"{time.perf_counter() - begun:7.2f} s  {what}", flush=True)


def peak() -> float:
    """Peak resident memory of this process, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def judge(n: int, here: runtime.Runtime, store: Store) -> None:
    train, val, made = (pictures(n, seed) for seed in range(3))
    with timed("a classifier for the features (not counted)"):
        options = ClassifierOptions(steps=200, evaluations=1)
        domain = fit_reference(Splits(train, val, val), options, here, seed=0)
    begun = time.perf_counter()
    with timed("embeddings of train, val and synthetic images"):
        look = FeatureExtractor(domain, here, store=store)
        compared = Compared(look.embed(val), look.embed(made), look.embed(train))
    with timed("every figure, of all images and class by class"):
        table = fidelity.measure(compared, made.classes)
    with timed("every check"):
        loose = FeatureExtractor(domain, here)
        curator = Curator(
            Curation(),
            Reference(compared.train, compared.real, 0.05),
            lambda images, labels: loose.embed(
                ImageSet(images, labels, made.classes, provenance([str(i) for i in range(len(images))]))
            ),
        )
        kept = 0
        for start in range(0, n, 1024):
            part = slice(start, start + 1024)
            rows, _ = curator.check(made.images[part], made.labels[part])
            curator.keep(made.images[part][rows], made.labels[part][rows])
            kept += len(rows)
    print(f"{time.perf_counter() - begun:7.2f} s  in all, {n:,} + {n:,} images; {peak():.2f} GB at the peak")
    print(f"{kept:,} kept; {table.value.notna().sum()} of {len(table)} figures given")
    for name, entry in fidelity.metrics.items():
        with timed(name):
            fidelity.figures(entry, compared)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--neighbours", type=int)
    given = parser.parse_args()
    here = runtime.start("cpu", "auto", given.threads)
    if given.neighbours:
        rng = np.random.default_rng(0)
        a, b = (rng.normal(size=(given.neighbours, 128)).astype(np.float32) for _ in range(2))
        with timed(f"nearest of {given.neighbours:,} points of each of as many queries"):
            neighbours.nearest(a, b)
        print(f"{peak():.2f} GB at the peak")
        return
    with tempfile.TemporaryDirectory() as folder:
        judge(given.images, here, Store(Path(folder)))


if __name__ == "__main__":
    main()
