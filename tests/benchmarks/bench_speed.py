"""Images a second in training: python tests/benchmarks/bench_speed.py [--device cuda] [--size 32] [--seconds 4] [--out
FILE.csv].

Every trained family with its defaults in its own batch size and a larger one, and classifiers, one process, one after
the other; the first steps, in which kernels are chosen, are not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core import device as runtime
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance
from augpipe.core.machine import cores
from augpipe.core.registry import load_kind
from augpipe.generators import families
from augpipe.generators.protocol import Problem

CLASSES, IMAGES = 10, 4096
LARGER = 512
CLASSIFIERS = ("small_cnn", "resnet32", "resnet18")


def train_set(size: int) -> ImageSet:
    labels = np.arange(IMAGES) % CLASSES
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, size, size), dtype=np.uint8)
    return ImageSet(pixels, labels, tuple("abcdefghij"), provenance([str(i) for i in range(IMAGES)]))


def family_step(name: str, batch: int, train: ImageSet, here: Runtime) -> Callable[[], object]:
    # So short a training that it is past what it begins with: an autoencoder, small pictures.
    config = load_kind("augpipe.generators.models", name, "generator").Config(kind=name, batch=batch, kimg=0.1)
    made = families.build(config, Problem(train.spec, train.classes), here, 0)
    made.prepare(train)
    pool, rng = runtime.Pool(train, here), torch.Generator()

    def step() -> object:
        rows = torch.randint(0, IMAGES, (batch,), generator=rng)
        return made.step(pool.gather(rows), pool.labels[rows])

    return step


def classifier_step(name: str, batch: int, train: ImageSet, here: Runtime) -> Callable[[], object]:
    options = ClassifierOptions(kind=name, steps=10**6, batch=batch)
    shape = classification.Shape(3, CLASSES, options.width)
    net = here.place(classification.start(options, shape, torch.Generator()))
    batches = Mixture(train, None, Mix(), here, seed=0)
    dropout = torch.Generator(device=here.device)
    classification.use_rng(net, dropout)
    streams = np.random.default_rng(0), dropout
    learner = classification._Learner(net, batches, options, here, streams)
    return learner.step


def wait(here: Runtime) -> None:
    if here.device.type == "cuda":
        torch.cuda.synchronize()


def rate(step: Callable[[], object], batch: int, seconds: float, here: Runtime) -> float:
    for _ in range(12):
        step()
    wait(here)
    begun, seen = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(4):
            step()
        wait(here)
        seen += 4 * batch
    return seen / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--out", default="")
    given = parser.parse_args()
    here = runtime.start(given.device, "auto", given.threads)
    train, rows = train_set(given.size), []
    trained = [
        (name, config)
        for name in families.names()
        if (config := load_kind("augpipe.generators.models", name, "generator").Config).generative
    ]
    jobs = [(n, b, family_step) for n, c in trained for b in (c(kind=n).batch, LARGER)]
    jobs += [(n, b, classifier_step) for n in CLASSIFIERS for b in (128, LARGER)]
    for name, batch, make in jobs:
        found = rate(make(name, batch, train, here), batch, given.seconds, here)
        rows.append((name, batch, round(found)))
        print(f"{name}, batch {batch}: {found:.0f} images/s", flush=True)
        if given.out:
            pd.DataFrame(rows, columns=["name", "batch", "images_per_second"]).to_csv(given.out, index=False)
    print(f"{here.device}, {here.precision}, {given.size} px, torch {torch.__version__}")


if __name__ == "__main__":
    main()
