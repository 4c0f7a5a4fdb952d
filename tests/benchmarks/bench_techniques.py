"""Each training technique alone on `cgan`, at equal kimg: are images of the class that was requested, and varied?

python tests/benchmarks/bench_techniques.py --out FOLDER [--data digits|mnist|fashion --root FOLDER] [--images 100]
    [--size 16] [--width 16] [--kimg 60] [--seeds 3] [--samples 200] [--only NAME ...]

Trains `cgan` on one thread with the first IMAGES images of each class and each technique of TECHNIQUES, once for each
seed; the last state counts, nothing is selected. An oracle classifies SAMPLES images of each class: a support vector
machine of all digits, or of 20,000 images of MNIST's or Fashion-MNIST's train set (ROOT holds MNIST/raw or
FashionMNIST/raw, gzipped or not), used here only. Diversity is the mean SSIM of two samples of a class, beside that of two real images;
lower is more varied. Both differences from the plain `cgan` with the same head are paired by seed, with a 95% interval
of Student's t.

FOLDER/rows.jsonl has a line for each training, and FOLDER/table.md is written anew after each: a run that was stopped
goes on with what is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from torch.nn import functional as F

from augpipe.core import device as runtime
from augpipe.core.images import ImageSet, provenance
from augpipe.core.registry import load_kind
from augpipe.core.seeds import torch_stream
from augpipe.generators import families
from augpipe.generators.class_draws import ClassUniform
from augpipe.generators.protocol import Problem
from augpipe.synthetic.fidelity import pixels

PAIRS: Final = 200  # of each class, whose SSIM is taken
ORACLE: Final = 20_000  # images that train the oracle, if there are more
PROJECTION: Final = {"head": "projection"}
# Options of each technique. Its base is `plain`, or `projection` if it has that head.
TECHNIQUES: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "projection": PROJECTION,
    "nonsaturating": {**PROJECTION, "loss": "nonsaturating"},
    "least squares": {**PROJECTION, "loss": "least_squares"},
    "Wasserstein, gradient penalty": {**PROJECTION, "loss": "wasserstein_gp", "r1": 0},
    "relativistic average": {**PROJECTION, "loss": "relativistic_average"},
    "relativistic pairing": {**PROJECTION, "loss": "relativistic_pairing"},
    "relativistic pairing, R1 and R2": {**PROJECTION, "loss": "relativistic_pairing", "r2": 0.005},
    "nonsaturating, noisy labels": {**PROJECTION, "loss": "nonsaturating", "label_noise": 0.2},
    "spectral norm": {"spectral": True},
    "attention": {"attention": None},  # at half of the image's resolution
    "orthogonal": {"orthogonal": True},
    "latent skips": {"latent_skips": True},
    "virtual batch norm": {"virtual_batch_norm": 32},
    "feature matching": {"feature_matching": 1.0},
    "minibatch discrimination": {"minibatch_discrimination": 16},
    "historical averaging": {"historical_averaging": 1e-3},
    "flipped labels": {"label_flips": 0.05},
    "LeCam": {"lecam": 0.01},
    "APA": {"apa": {"kimg": 100.0}},
    "replay": {"replay": 1000},
    "rotation": {"rotation": 1.0},
    "InfoGAN": {"infogan": {"categories": 4}},
    "encoder": {"encoder": True},
}


def pictures(name: str, root: Path | None, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All images uint8 (N,1,size,size), labels (N,)."""
    if name == "digits":
        bunch = load_digits()
        grey, labels = torch.from_numpy(bunch.images).float() * (255 / 16), torch.from_numpy(bunch.target)
    else:
        folder = (root or Path()) / {"mnist": "MNIST", "fashion": "FashionMNIST"}[name] / "raw"
        # After a head of 16 bytes for images and 8 for labels, one byte a value.
        parts = [_raw(folder / f"train-{part}-ubyte", head) for part, head in (("images-idx3", 16), ("labels-idx1", 8))]
        grey, labels = parts[0].reshape(-1, 28, 28).float(), parts[1].long()
    sized = F.interpolate(grey[:, None], (size, size), mode="bilinear", antialias=True)
    return sized.round().clamp(0, 255).to(torch.uint8), labels


def _raw(file: Path, head: int) -> torch.Tensor:
    """The bytes of a file after its head; of FILE.gz if it is not there."""
    content = file.read_bytes() if file.exists() else gzip.decompress(file.with_name(f"{file.name}.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=head).copy())


def flat(images: torch.Tensor) -> np.ndarray[Any, Any]:
    """What the oracle sees of images uint8 (N,C,H,W)."""
    return images.flatten(1).numpy() / 255


def similarity(images: torch.Tensor) -> float:
    """Mean SSIM of random pairs of different images, uint8 (N,C,H,W)."""
    rng = torch.Generator().manual_seed(0)
    one = torch.randint(0, len(images), (PAIRS,), generator=rng)
    other = (one + torch.randint(1, len(images), (PAIRS,), generator=rng)) % len(images)
    return float(pixels.similarity(images[one].float(), images[other].float()).mean())


def measure(
    options: dict[str, Any], some: ImageSet, oracle: Any, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Train once; agreement and SSIM of the samples, images a second of processor time."""
    here = runtime.start("cpu", threads=1)
    if "attention" in options:
        options = {"attention": args.size // 2}
    config = load_kind("augpipe.generators.models", "cgan", "generator").Config(
        kind="cgan", kimg=args.kimg, width=args.width, augment=["translation"], **options
    )
    problem = Problem(some.spec, some.classes)
    families.check(config, problem)
    generator = families.build(config, problem, here, seed)
    generator.prepare(some)
    rows, (images, labels) = ClassUniform(some, torch_stream(seed, "generator batches")), some.tensors()
    shown, start = 0, time.process_time()
    while shown < args.kimg * 1000:
        at = rows.draw(config.batch)
        losses = generator.step(images[at], labels[at])
        shown += config.batch
    seconds = time.process_time() - start
    classes = len(some.classes)
    requested = torch.arange(classes).repeat_interleave(args.samples)
    samples = generator.sample(requested, torch_stream(seed, "bench"))
    right = (oracle.predict(flat(samples)) == requested.numpy()).reshape(classes, args.samples).mean(1)
    return {
        "agreement": float(right.mean()),
        "worst": float(right.min()),
        "ssim": float(np.mean([similarity(samples[requested == c]) for c in range(classes)])),
        "rate": shown / seconds,
        "finite": all(math.isfinite(float(value)) for value in losses.values()),
    }


def interval(values: list[float]) -> str:
    """Mean and 95% interval of Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:+.3f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def table(rows: list[dict[str, Any]], real: float) -> Iterator[str]:
    """A line for each technique, means over its seeds and differences from its base."""
    yield "| technique | seeds | agreement | worst class | SSIM (real) | agreement, difference | SSIM, difference | images/s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["technique"], {})[row["seed"]] = row
    for name, seeds in by_name.items():
        base = "projection" if TECHNIQUES[name].get("head") else "plain"
        pairs = [(row, by_name[base][seed]) for seed, row in seeds.items() if seed in by_name.get(base, {})]
        mean = {key: np.mean([row[key] for row in seeds.values()]) for key in ("agreement", "worst", "ssim", "rate")}
        differences = [""] * 2
        if name != base and pairs:
            differences = [interval([one[key] - other[key] for one, other in pairs]) for key in ("agreement", "ssim")]
        yield (
            f"| {name} | {len(seeds)} | {mean['agreement']:.3f} | {mean['worst']:.2f} | {mean['ssim']:.2f} ({real:.2f}) | "
            f"{differences[0]} | {differences[1]} | {mean['rate']:.0f} |"
        )


def arguments() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", choices=("digits", "mnist", "fashion"), default="digits")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--width", type=float, default=16)
    parser.add_argument("--kimg", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=TECHNIQUES, metavar="NAME", default=list(TECHNIQUES))
    args = parser.parse_args()
    if args.data != "digits" and args.root is None:
        parser.error(f"--data {args.data} needs --root")
    return args


def main() -> None:
    """Train and measure what is missing in FOLDER/rows.jsonl."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels = pictures(args.data, args.root, args.size)
    oracle = make_pipeline(PCA(50, random_state=0), SVC(C=10)).fit(flat(images[:ORACLE]), labels[:ORACLE].numpy())
    chosen = torch.cat([torch.nonzero(labels == c)[: args.images, 0] for c in range(10)])
    table_of_images = provenance([str(int(row)) for row in chosen])
    classes = tuple(str(c) for c in range(10))
    some = ImageSet(images[chosen].numpy(), labels[chosen].numpy(), classes, table_of_images)
    real = float(np.mean([similarity(images[labels == c]) for c in range(10)]))
    settings = [args.data, args.images, args.size, args.width, args.kimg, args.samples]
    file = args.out / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    rows = [row for row in rows if row["settings"] == settings]
    done = {(row["technique"], row["seed"]) for row in rows}
    # Seed by seed, so that an unfinished run compares all techniques.
    for seed, name in ((seed, name) for seed in range(args.seeds) for name in args.only):
        if (name, seed) in done:
            continue
        row = {"technique": name, "seed": seed, "settings": settings}
        rows.append(row | measure(TECHNIQUES[name], some, oracle, seed, args))
        with file.open("a") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
        text = "\n".join(table(rows, real)) + "\n"
        (args.out / "table.md").write_text(text)
        print(f"{name}, seed {seed}: {rows[-1]}", flush=True)
    print((args.out / "table.md").read_text() if rows else "nothing to do")


if __name__ == "__main__":
    main()
