"""How often do the tests of fidelity reject innocent images, how often do they find copies, and is SSIM the papers' SSIM?

python tests/benchmarks/bench_fidelity_claims.py FOLDER [--deals 200] [--only innocent|copies|ssim ...]

FOLDER has orl_faces/orl_faces.zip and MNIST/raw; a set that is missing is left out. Prints three Markdown tables. Real
photographs stand for synthetic images. Innocent: of persons (faces), or digits, that are neither in train nor held out.
Copies: of train images, in a set of otherwise innocent ones. Features are the first principal components of train's
thumbnails, so that no training is needed. 3 minutes on one core.
"""

from __future__ import annotations

import argparse
import gzip
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from augpipe.synthetic import views
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared
from augpipe.synthetic.fidelity.base import Noted
from augpipe.synthetic.fidelity.from_classifiers import c2st
from augpipe.synthetic.fidelity.memorisation import memorisation, near_copies
from augpipe.synthetic.fidelity.pixels import similarity

Images = NDArray[np.uint8]
LEVEL, GATE = 0.05, 0.01  # of a test; of the default gate `memorisation.p > 0.01`
COMPONENTS = 32
PERSONS = (14, 12, 14)  # faces: in train, held out, and neither
DIGITS = (400, 300, 300)  # images of one digit: train, held out, synthetic
MOVES: dict[str, Callable[[Images], Images]] = {
    "as they are": lambda x: x,
    "shifted by a pixel": lambda x: np.roll(x, (1, -1), (2, 3)),
    "mirrored": lambda x: x[..., ::-1],
    "mirrored and shifted": lambda x: np.roll(x[..., ::-1], 1, 3),
}


def faces(folder: Path) -> tuple[Images, NDArray[np.int64]]:
    """The ORL faces at 32 px, (400,1,32,32), and the number of the person on each."""
    pictures, persons = [], []
    with zipfile.ZipFile(folder / "orl_faces" / "orl_faces.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".pgm"):
                with archive.open(name) as stream, Image.open(stream) as picture:
                    pictures.append(np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX)))
                persons.append(int(Path(name).parent.name[1:]))
    return np.stack(pictures)[:, None], np.array(persons)


def digits(folder: Path, only: int) -> Images:
    """All training images of one digit of MNIST, (N,1,28,28)."""
    raw = folder / "MNIST" / "raw"
    labels = np.frombuffer(_unpacked(raw, "train-labels-idx1-ubyte"), np.uint8, offset=8)
    pixels = np.frombuffer(_unpacked(raw, "train-images-idx3-ubyte"), np.uint8, offset=16)
    return pixels.reshape(-1, 1, 28, 28)[labels == only]


def _unpacked(raw: Path, name: str) -> bytes:
    plain = raw / name
    return plain.read_bytes() if plain.exists() else gzip.decompress((raw / f"{name}.gz").read_bytes())


def compared(sets: list[Images], groups: list[NDArray[np.object_] | None], seed: int) -> Compared:
    """Train, held-out and synthetic images, in this order, of one class."""
    flat = [views.thumbnails(images).reshape(len(images), -1) for images in sets]
    centre = flat[0].mean(0)
    components = np.linalg.svd(flat[0] - centre, full_matrices=False)[2][:COMPONENTS]
    train, held_out, synthetic = (
        Embedded(
            ((pixels - centre) @ components.T).astype(np.float32),
            np.ones((len(images), 1), np.float32),
            np.zeros(len(images), np.int64),
            images,
            of,
        )
        for pixels, images, of in zip(flat, sets, groups, strict=True)
    )
    return Compared(held_out, synthetic, train, seed)


def dealt(folder: Path, deals: int, whole: bool) -> Iterator[Compared]:
    """The faces, divided at random into three sets: whole persons, or photographs one by one."""
    images, persons = faces(folder)
    counts = np.cumsum(PERSONS)
    for seed in range(deals):
        rng = np.random.default_rng(seed)
        if whole:
            order = rng.permutation(np.unique(persons))
            rows = [np.flatnonzero(np.isin(persons, part)) for part in np.split(order, counts)[:3]]
        else:
            rows = np.split(rng.permutation(len(images)), 10 * counts)[:3]
        names = [persons[part].astype(str).astype(object) for part in rows]
        yield compared([images[part] for part in rows], list(names), seed)


def without_groups(c: Compared) -> Compared:
    """The same images as if each were on its own."""
    train = None if c.train is None else replace(c.train, groups=None)
    return Compared(replace(c.real, groups=None), replace(c.synthetic, groups=None), train, c.seed)


def with_copies(c: Compared) -> Compared:
    """A fifth of the synthetic images are mirrored images of train, of every person there."""
    if c.train is None:
        raise ValueError("copies need the images of train")
    n = len(c.synthetic) // 5
    images, vectors = c.synthetic.images.copy(), c.synthetic.vectors.copy()
    rows = np.linspace(0, len(c.train) - 1, n).astype(int)
    images[:n], vectors[:n] = c.train.images[rows][..., ::-1], c.train.vectors[rows]
    return replace(c, synthetic=replace(c.synthetic, images=images, vectors=vectors, groups=None))


def p_of(figure: float | Noted) -> float:
    return figure.value if isinstance(figure, Noted) else figure


def innocent(folder: Path, deals: int) -> None:
    """Percent of deals in which innocent photographs are rejected."""
    print(f"| {deals} deals of the ORL faces | memorisation.p ≤ .05 | gate (≤ .01) does not hold | c2st_p ≤ .05 |")
    print("| --- | --- | --- | --- |")
    rows = (
        ("whole persons, groups exchanged together", True, lambda c: c),
        ("whole persons, as if each image were on its own", True, without_groups),
        ("photographs one by one, on their own", False, without_groups),
        ("whole persons, a fifth are copies of train (to be found)", True, with_copies),
    )
    for name, whole, change in rows:
        p = np.array(
            [
                (p_of(memorisation(c)["memorisation.p"]), p_of(c2st(c)["c2st_p"]))
                for c in map(change, dealt(folder, deals, whole))
            ]
        )
        shares = ((p[:, 0] <= LEVEL).mean(), (p[:, 0] <= GATE).mean(), (p[:, 1] <= LEVEL).mean())
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f}%" for share in shares) + " |", flush=True)


def copies(folder: Path, deals: int) -> None:
    """Percent of deals in which copies are noticed, and the fraction of copies that is shown."""
    images = digits(folder, 3)
    print(f"\n| {deals} deals of MNIST's threes | memorisation.p ≤ .05 | by pixels | by features | near_copies, mean |")
    print("| --- | --- | --- | --- | --- |")
    for share, moves in ((0.0, ["as they are"]), (0.05, list(MOVES)), (0.2, list(MOVES))):
        for move in moves:
            p, near = list[list[float]](), list[float]()
            for seed in range(deals):
                rows = np.random.default_rng(seed).permutation(len(images))
                sets = [images[part] for part in np.split(rows, np.cumsum(DIGITS))[:3]]
                n = round(share * DIGITS[2])
                sets[2][:n] = MOVES[move](sets[0][:n])
                c = compared(sets, [None] * 3, seed)
                figures = memorisation(c)
                p.append([p_of(figures[f"memorisation.p{which}"]) for which in ("", "_pixels", "_features")])
                near.append(p_of(near_copies(c)["memorisation.near_copies"]))
            name = f"{100 * share:.0f}% copies, {move}" if share else "no copies"
            rates = " | ".join(f"{100 * rate:.0f}%" for rate in (np.array(p) <= LEVEL).mean(0))
            print(f"| {name} | {rates} | {np.mean(near):.3f} ({min(near):.3f} to {max(near):.3f}) |", flush=True)


def ssim(folder: Path, pairs: int = 400) -> None:
    """Mean SSIM of random pairs of a digit, ours and by scikit-image."""
    print(
        "\n| MNIST, random pairs of | ours | scikit-image, Gaussian window | at 32 px, ours | scikit-image's default |"
    )
    print("| --- | --- | --- | --- | --- |")
    for digit in (4, 8, 9):
        images = digits(folder, digit)
        a, b = images[np.random.default_rng(0).permutation(len(images))[: 2 * pairs]].reshape(2, pairs, 1, 28, 28)
        wide = [np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2))) for x in (a, b)]
        ours, padded = (
            float(similarity(*(torch.from_numpy(np.array(x)).float() for x in pair)).mean()) for pair in ((a, b), wide)
        )
        gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        theirs, default = [], []
        for x, y in zip(a[:, 0], b[:, 0], strict=True):
            whole = structural_similarity(x, y, data_range=255, full=True, **gaussian)[1]
            theirs.append(whole[5:-5, 5:-5].mean())
            default.append(structural_similarity(x, y, data_range=255))
        print(f"| {digit} | {ours:.4f} | {np.mean(theirs):.4f} | {padded:.3f} | {np.mean(default):.3f} |", flush=True)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--deals", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=("innocent", "copies", "ssim"))
    options = parser.parse_args()
    wanted = options.only or ["innocent", "copies", "ssim"]
    begun = time.process_time()
    if "innocent" in wanted and (options.folder / "orl_faces" / "orl_faces.zip").exists():
        innocent(options.folder, options.deals)
    if (options.folder / "MNIST" / "raw").exists():
        if "copies" in wanted:
            copies(options.folder, options.deals // 4)
        if "ssim" in wanted:
            ssim(options.folder)
    print(f"\n{time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
