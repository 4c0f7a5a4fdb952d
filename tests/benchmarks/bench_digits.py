"""Generators on scikit-learn's digits at equal processor time: are images of the class that was requested, and varied?

python tests/benchmarks/bench_digits.py NAME ... --out FOLDER [--images 150] [--size 16] [--seconds 180] [--seed 0]

NAME is a family, or NAME:KEY=VALUE[:KEY=VALUE...] with options. Each is trained on one thread with the first IMAGES
images of each digit, enlarged to SIZE pixels; the last state counts, nothing is selected. A support vector machine of
all 1,797 images (used here only) classifies 200 samples a class. Leaves FOLDER/NAME-IMAGES-SIZE.png (ten samples a class,
none picked) and prints a row of a table: mean and worst agreement, SSIM of two samples of a class beside that of two
real ones, kimg and samples a second.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch.nn import functional as F

from augpipe.core import device as runtime
from augpipe.core.images import ImageSet, grid, provenance
from augpipe.core.registry import load_kind
from augpipe.core.seeds import torch_stream
from augpipe.generators import families
from augpipe.generators.class_draws import ClassUniform
from augpipe.generators.protocol import Generator, Problem
from augpipe.synthetic.fidelity import pixels

SAMPLES = 200  # of each class, classified
PAIRS = 200  # of each class, whose SSIM is taken


def digits(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All images uint8 (N,1,size,size), labels (N,)."""
    bunch = load_digits()
    grey = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)
    large = F.interpolate(grey, (size, size), mode="bilinear", antialias=True)
    return large.round().clamp(0, 255).to(torch.uint8), torch.from_numpy(bunch.target)


def similarity(images: torch.Tensor) -> float:
    """Mean SSIM of random pairs of different images, uint8 (N,C,H,W)."""
    rng = torch.Generator().manual_seed(0)
    one = torch.randint(0, len(images), (PAIRS,), generator=rng)
    other = (one + torch.randint(1, len(images), (PAIRS,), generator=rng)) % len(images)
    return float(pixels.similarity(images[one].float(), images[other].float()).mean())


def train(generator: Generator, images: ImageSet, batch: int, seconds: float, seed: int) -> float:
    """Steps until the processor time is spent; thousands of images shown."""
    rows = ClassUniform(images, torch_stream(seed, "generator batches"))
    pictures, labels = images.tensors()
    generator.prepare(images)
    seen, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        at = rows.draw(batch)
        generator.step(pictures[at], labels[at])
        seen += batch
    return seen / 1000


def main() -> None:
    """Train and measure each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    here = runtime.start("cpu", threads=1)
    images, labels = digits(args.size)
    svm = SVC(C=10).fit(images.flatten(1).numpy() / 255, labels.numpy())
    rows = torch.cat([torch.nonzero(labels == c)[: args.images, 0] for c in range(10)])
    names = tuple(str(c) for c in range(10))
    some = ImageSet(images[rows].numpy(), labels[rows].numpy(), names, provenance([str(int(r)) for r in rows]))
    of_real = np.mean([similarity(images[labels == c]) for c in range(10)])
    requested = torch.arange(10).repeat_interleave(SAMPLES)
    for name in args.names:
        kind, *options = name.split(":")
        values: dict[str, Any] = {key: yaml.safe_load(value) for key, value in (o.split("=") for o in options)}
        config = load_kind("augpipe.generators.models", kind, "generator").Config(kind=kind, **values)
        generator = families.build(config, Problem(some.spec, names), here, args.seed)
        kimg = train(generator, some, config.batch, args.seconds, args.seed)
        start = time.process_time()
        samples = generator.sample(requested, torch_stream(args.seed, "bench"))
        rate = len(samples) / (time.process_time() - start)
        right = svm.predict(samples.flatten(1).numpy() / 255) == requested.numpy()
        by_class = right.reshape(10, SAMPLES).mean(1)
        alike = np.mean([similarity(samples[requested == c]) for c in range(10)])
        shown = torch.cat([samples[requested == c][:10] for c in range(10)]).numpy()
        grid(shown, 10, scale=max(1, 64 // args.size)).save(
            args.out / f"{name.replace(chr(58), chr(45))}-{args.images}-{args.size}.png"
        )
        print(
            f"| `{name}` | {args.images} | {args.size} | {by_class.mean():.3f} | {by_class.min():.2f} "
            f"({by_class.argmin()}) | {alike:.2f} ({of_real:.2f}) | {kimg:.0f} | {rate:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
