"""Which near copies of test images are found in train, and how many are reported where there is none.

python tests/benchmarks/bench_near_copies.py FOLDER [--planted 60] [--train 20000] [--test 1000]

FOLDER has orl_faces/orl_faces.zip, medmnist/pneumoniamnist.npz, FashionMNIST/raw; a set that is missing is left out.
Copies of some test images, changed in one way each, are added to train, and `near_copies` searches it as a run with
`duplicates: near` does. Prints a Markdown table: the number of copies found, and of test images reported without a
planted copy. 1 minute on one core.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from augpipe.core.image_spec import ImageSpec
from augpipe.core.registry import load_kind
from augpipe.data import sources
from augpipe.data.duplicates import equal_groups
from augpipe.data.facts import Facts, FactsBuffer
from augpipe.data.near_copies import near_copies
from augpipe.data.options import SplitOptions
from augpipe.data.sources import Listing
from augpipe.data.sources._pictures import decode, read
from augpipe.data.split import split

Change = Callable[[Image.Image], Image.Image]
FILTER = Image.Resampling.BILINEAR
SPEC = ImageSpec(28, 1)  # of the stored image, which the search does not use


def part(left: float, top: float, right: float, bottom: float) -> Change:
    """The picture without these fractions of its sides."""

    def change(picture: Image.Image) -> Image.Image:
        w, h = picture.size
        return picture.crop((round(left * w), round(top * h), w - round(right * w), h - round(bottom * h)))

    return change


def turned(degrees: float) -> Change:
    """The picture turned, without its corners: the largest part of a square that has none."""
    radians = math.radians(degrees)
    edge = (1 - 1 / (math.cos(radians) + math.sin(radians))) / 2
    return lambda picture: part(edge, edge, edge, edge)(picture.rotate(degrees, FILTER))


def jpeg(quality: int) -> Change:
    """The picture as a JPEG file of this quality."""

    def change(picture: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        return Image.open(io.BytesIO(stream.getvalue()))

    return change


CHANGES: dict[str, Change] = {
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "turned by 5 degrees": turned(5),
    "turned by 10 degrees": turned(10),
    "turned by 15 degrees": turned(15),
    "turned by 10 degrees, black corners": lambda picture: picture.rotate(10, FILTER),
    "shifted by 10% of a side": part(0.1, 0.1, 0, 0),
    "cropped by 5% at each edge": part(0.05, 0.05, 0.05, 0.05),
    "JPEG of quality 50": jpeg(50),
    "brighter (0.8 v + 40)": lambda picture: picture.point(lambda v: 0.8 * v + 40),
    "mirrored and brighter": lambda picture: ImageOps.mirror(picture).point(lambda v: 0.8 * v + 40),
}


@dataclass(frozen=True)
class Pictures:
    """Train and test pictures of a set; the first `n_train` are train."""

    name: str
    pictures: list[Image.Image]
    n_train: int


def facts_of(pictures: list[Image.Image]) -> Facts:
    """What a run keeps of each picture to find copies."""
    buffer = FactsBuffer(len(pictures))
    for row, picture in enumerate(pictures):
        buffer.add(row, read(np.asarray(picture), SPEC, "fit", None))
    return buffer.facts()


def load(name: str, listing: Listing, most: dict[str, int]) -> Pictures:
    """Train and val as one, and test, at most so many of each, evenly spaced."""
    _, rows = split(
        listing.labels,
        listing.classes,
        SplitOptions(),
        np.random.default_rng(0),
        groups=listing.groups,
        official=listing.splits,
    )
    chosen = []
    for side, candidates in (("train", np.concatenate([rows["train"], rows["val"]])), ("test", rows["test"])):
        chosen.append(np.sort(candidates)[spaced(len(candidates), most[side])])
    pictures = [decode(blob, None).pixels.convert("L").copy() for side in chosen for blob in listing.fetch(side)]
    return Pictures(name, pictures, len(chosen[0]))


def spaced(n: int, most: int) -> np.ndarray:
    """At most so many of n rows, evenly spaced."""
    return np.linspace(0, n - 1, min(n, most)).astype(int)


def available(folder: Path, most: dict[str, int]) -> list[Pictures]:
    """The sets that are in the folder."""

    def listed(kind: str, **values: Any) -> Listing:
        config = load_kind("augpipe.data.sources", kind, "source").Config(kind=kind, **values)
        return sources.listing(config)

    sets: dict[str, tuple[Path, Callable[[], Listing]]] = {
        "ORL faces": (
            folder / "orl_faces" / "orl_faces.zip",
            lambda: listed("archive", path=folder / "orl_faces" / "orl_faces.zip"),
        ),
        "PneumoniaMNIST": (
            folder / "medmnist" / "pneumoniamnist.npz",
            lambda: listed("medmnist", name="pneumoniamnist", root=folder / "medmnist"),
        ),
        "Fashion-MNIST": (
            folder / "FashionMNIST" / "raw",
            lambda: listed("torchvision", name="FashionMNIST", root=folder, download=False),
        ),
    }
    return [load(name, make(), most) for name, (path, make) in sets.items() if path.exists()]


def hits_of_planted(images: Pictures, change: Change, planted: int) -> str:
    """Copies found, of those planted. A planted copy counts if it is of one group with the image
    that it is a copy of.
    """
    n_test = len(images.pictures) - images.n_train
    tests = images.n_train + spaced(n_test, planted)
    copies = [change(images.pictures[row]) for row in tests]
    facts = facts_of([*images.pictures, *copies])
    first = len(images.pictures)
    train = np.r_[np.arange(images.n_train), first : first + len(copies)]
    rows = {"train": train, "val": train[:0], "test": tests}
    groups = near_copies(facts, rows, complete=True).groups
    hits = int((groups[tests] == groups[first : first + len(copies)]).sum())
    return f"{hits} of {len(copies)}"


def reported(images: Pictures) -> str:
    """Test images with a near, not equal, image in train although none is planted."""
    facts = facts_of(images.pictures)
    train, test = np.split(np.arange(len(images.pictures)), [images.n_train])
    result = near_copies(facts, {"train": train, "val": train[:0], "test": test}, complete=True)
    equal = equal_groups(facts.content)
    n_equal = int(np.isin(equal[test], equal[train]).sum())
    return f"{result.count['test']} of {len(test):,}" + (f" ({n_equal} equal)" if n_equal else "")


def main() -> None:
    """Plant, search, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planted", type=int, default=60)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--test", type=int, default=1000)
    options = parser.parse_args()
    sets = available(options.folder, {"train": options.train, "test": options.test})
    begun = time.process_time()
    print(f"| found of planted copies | {' | '.join(one.name for one in sets)} |")
    print(f"| --- |{' --- |' * len(sets)}")
    for name, change in CHANGES.items():
        cells = [hits_of_planted(one, change, options.planted) for one in sets]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    cells = [reported(one) for one in sets]
    print(f"| test images reported, no copy planted | {' | '.join(cells)} |")
    print(f"\n{time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
