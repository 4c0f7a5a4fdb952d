"""What each mend of speed brings, as ratios: python tests/benchmarks/bench_ratios.py [--record] [--only NAME ...]

Processor time of the slower way over that of ours, one thread, by turns in one process, the median of SEVEN rounds.
Exit status 1 if a ratio is below 80% of that in docs/results/speed.json; --record writes that file. Ratios depend on
the processor: the file names it, and the check on another one says so.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import albumentations
import torch
from bench_speed import classifier_step, family_step, train_set
from bench_synthesis import ratio as synthesis_ratio
from classifiers.test_batch_steps import REFERENCES, by_albumentations

from augpipe.classifiers.transforms import transform
from augpipe.core import device, machine
from augpipe.core.device import Runtime
from augpipe.core.registry import load_kind
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.nn import blocks

RECORDED = Path(__file__).resolve().parents[2] / "docs" / "results" / "speed.json"
LEAST = 0.8  # of the recorded ratio
ROUNDS = 7
Step = Callable[[], object]


def median_ratio(slower: Step, ours: Step, repeats: int) -> float:
    """Median over rounds of the processor time of `slower` over that of `ours`, after one round uncounted."""
    ratios = []
    for _ in range(ROUNDS + 1):
        times = []
        for step, count in ((slower, 1), (ours, repeats)):
            begin = time.process_time()
            for _ in range(count):
                step()
            times.append((time.process_time() - begin) / count)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


def bernoulli(x: torch.Tensor, p: float, rng: torch.Generator) -> torch.Tensor:
    return torch.empty_like(x).bernoulli_(1 - p, generator=rng).div_(1 - p)


def with_bernoulli(step: Step) -> Step:
    def slower() -> object:
        with patch.object(blocks, "_mask", bernoulli):
            return step()

    return slower


def filling(step: Step) -> Step:
    """With deterministic mode's filling of fresh memory."""

    def slower() -> object:
        before = device.set_fill(True)
        try:
            return step()
        finally:
            device.set_fill(before)

    return slower


def transforms(name: str, channels: int, size: int) -> float:
    shape = (128, channels, size, size)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ours = transform(name, 0)
    return median_ratio(lambda: by_albumentations(x, REFERENCES[name]), lambda: ours(x), 4)


def measurements(here: Runtime) -> Iterator[tuple[str, Callable[[], float]]]:
    """Name and measurement of each ratio."""
    train = train_set(32)
    for name in REFERENCES:
        for channels, size in ((1, 16), (3, 32)):
            yield f"transform {name} {channels}x{size}x{size}", lambda n=name, c=channels, s=size: transforms(n, c, s)
    for name, batch in (("acgan", 32), ("bagan", 32), ("dagan", 8)):

        def dropout(name: str = name, batch: int = batch) -> float:
            step = family_step(name, batch, train, here)
            return median_ratio(with_bernoulli(step), step, 1)

        yield f"dropout {name}", dropout

    def fill() -> float:
        step = family_step("cgan", 32, train, here)
        return median_ratio(filling(step), step, 1)

    yield "memory not filled cgan", fill

    def classifier() -> float:
        step = classifier_step("small_cnn", 64, train, here)
        return median_ratio(with_bernoulli(step), step, 1)

    yield "dropout small_cnn", classifier
    for name in ("cgan", "dcgan"):

        def synthesis(name: str = name) -> float:
            kind = load_kind("augpipe.generators.models", name, "generator").Config
            generator = families.build(kind(kind=name, width=0.0625), Problem(train.spec, train.classes), here, 0)
            generator.prepare(train)
            with tempfile.TemporaryDirectory() as folder:
                bare, whole = synthesis_ratio(generator, train, 2560, Path(folder))
            return whole / bare

        yield f"synthesis {name} of width 1/16, of the generator's rate", synthesis


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "albumentations": albumentations.__version__,
        "processor": machine.chip("cpu"),
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }


def failures(measured: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """A line for each ratio below LEAST of the recorded one, or that has none recorded."""
    return [
        f"{name}: {value:.2f}, recorded {recorded[name]:.2f}"
        if name in recorded
        else f"{name}: {value:.2f}, nothing recorded"
        for name, value in measured.items()
        if name not in recorded or value < LEAST * recorded[name]
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    here, measured = device.start("cpu", "auto", 1), dict[str, float]()
    for name, measure in measurements(here):
        if given.only and not any(word in name for word in given.only):
            continue
        measured[name] = round(measure(), 2)
        print(f"{name}: {measured[name]:.2f}", flush=True)
    file = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"with": {}, "ratios": {}}
    if given.record:
        file = {"with": versions(), "ratios": {**file["ratios"], **measured}}
        RECORDED.write_text(json.dumps(file, indent=2) + "\n")
        return
    if file["with"] != versions():
        print(f"recorded with {file['with']}, measured with {versions()}")
    for line in (slow := failures(measured, file["ratios"])):
        print(f"TOO SLOW {line}")
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
