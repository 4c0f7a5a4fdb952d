"""Synthesis: python tests/benchmarks/bench_synthesis.py [--size 32] [--images 4096] [--width 0.25] [--million]

Images a second of processor time that `synthetic.draw.sample` writes to a store, against the untrained generator alone
with the same labels, by turns in one process, one thread; the ratio of the medians. With --million the resident memory
of a process that writes 1,000,000 images of 32x32 of a generator that costs nothing.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_speed import CLASSES, train_set

from augpipe.core import device
from augpipe.core.images import ImageSet
from augpipe.core.registry import load_kind
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store
from augpipe.generators import families
from augpipe.generators.protocol import Generator, Problem
from augpipe.synthetic.draw import AT_ONCE, draw, sample

REPEATS = 5


class Free:
    """A generator that costs nothing: equal images."""

    def __init__(self, train: ImageSet) -> None:
        self._images = torch.full((AT_ONCE, *train.spec.shape), 100, dtype=torch.uint8)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return self._images[: len(labels)]


def processor_time(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def ratio(generator: Generator, train: ImageSet, images: int, place: Path) -> tuple[float, float]:
    """Images a second of the generator alone, and of the whole synthesis."""
    counts = dict.fromkeys(range(CLASSES), images // CLASSES)
    labels = torch.arange(CLASSES).repeat_interleave(images // CLASSES)

    def alone() -> None:
        rng = torch_stream(0, "synthesis")
        for chunk in labels.split(AT_ONCE):
            draw(generator, chunk, rng)

    alone()
    times: list[tuple[float, float]] = []
    for turn in range(REPEATS):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            store = Store(Path(folder))
            whole = processor_time(lambda: sample(generator, counts, train, name="x", seed=turn, store=store))  # noqa: B023
        times.append((processor_time(alone), whole))
    bare, whole = (len(labels) / statistics.median(column) for column in zip(*times, strict=True))
    return bare, whole


def resident() -> float:
    """Resident memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def growth(images: int, train: ImageSet, place: Path) -> tuple[float, float]:
    """MB that the peak of resident memory rises by, and seconds of processor time."""
    generator = Free(train)
    counts = dict.fromkeys(range(CLASSES), images // CLASSES)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        before = resident()
        seconds = processor_time(lambda: sample(generator, counts, train, name="x", seed=0, store=Store(Path(folder))))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    here, train = device.start("cpu", "auto", 1), train_set(given.size)
    if given.million:
        for images in (100_000, 1_000_000):
            rise, seconds = growth(images, train, given.place)
            print(f"{images} images: resident memory rises by {rise:.0f} MB, {1e6 * seconds / images:.1f} us an image")
        return
    for name in given.families or families.names():
        kind = load_kind("augpipe.generators.models", name, "generator").Config
        if not kind.generative:
            continue
        config = kind(kind=name, width=given.width) if "width" in kind.model_fields else kind(kind=name)
        generator = families.build(config, Problem(train.spec, train.classes), here, 0)
        generator.prepare(train)
        bare, whole = ratio(generator, train, given.images, given.place)
        print(f"{name}: {bare:.0f} images/s alone, {whole:.0f} written, ratio {whole / bare:.2f}", flush=True)


if __name__ == "__main__":
    main()
