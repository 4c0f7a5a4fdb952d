"""A source's pictures → one array: streamed, checked, hashed; what cannot be used is listed with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.device import cores
from augpipe.core.errors import PictureError, UserError, several
from augpipe.core.images import ImageSet, ImageSpec, provenance
from augpipe.core.options import ImageOptions, Window
from augpipe.core.store import image_writer
from augpipe.data.duplicates import perceptual_hashes
from augpipe.data.options import Policy
from augpipe.data.quarantine import check_bad
from augpipe.data.sources._listing import Bad, Listing
from augpipe.data.sources._pictures import THUMB, UNREADABLE, Blob, Read, decode, quiet, read

# Sizes every generator family can build: base 4..7, doubled.
SIZES: Final = (16, 24, 28, 32, 48, 56, 64, 96, 112, 128)
# Chosen by itself: beyond, a run on a plain machine takes hours, and who wants it says so.
LARGEST: Final = 64
LOOKED_AT: Final = 200  # pictures that choose size and channels
COLOURED: Final = 8  # levels by which a pixel's channels differ where a picture is one of colour
CHUNK: Final = 512  # small pictures handled at a time
BIG: Final = 128 * 128  # pixels from which on decoding is worth a thread
KEPT_THUMB: Final = 16  # side of the thumbnails that are kept
Progress = Callable[[int, int], None]  # images done, of how many


@dataclass(frozen=True)
class Survey:
    """What a look at some pictures finds: images of each class, the shape that fits them, and why."""

    counts: dict[str, int]
    spec: ImageSpec
    about: str
    pixels: int  # of a picture, median


@dataclass(frozen=True)
class Facts:
    """What is known of each image that was read, (N,) each."""

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    mode: NDArray[np.object_]
    format: NDArray[np.object_]
    content: NDArray[np.void]  # 16 bytes that name the pixels
    hashes: NDArray[np.uint64]  # perceptual
    thumbs: NDArray[np.uint8]  # (N,KEPT_THUMB,KEPT_THUMB)
    tints: NDArray[np.int16]  # (N,2) mean red less green, green less blue


@dataclass(frozen=True)
class Intake:
    """All images of a source. `rows`: which of the listing's were read; `images` (N,C,H,W), None where only
    facts were asked for."""

    listing: Listing
    rows: NDArray[np.int64]
    images: NDArray[np.uint8] | None
    spec: ImageSpec
    facts: Facts
    bad: tuple[Bad, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,)."""
        return self.listing.labels[self.rows]

    @property
    def ids(self) -> list[str]:
        """Names of the images."""
        return [self.listing.ids[int(row)] for row in self.rows]

    @property
    def groups(self) -> NDArray[np.object_] | None:
        """What must not stand on two sides of a split; None where every image is its own."""
        return None if self.listing.groups is None else self.listing.groups[self.rows]

    @property
    def splits(self) -> NDArray[np.object_] | None:
        """The source's own sides; None where it has none."""
        return None if self.listing.splits is None else self.listing.splits[self.rows]

    def image_set(self) -> ImageSet:
        """The images with their provenance; ValueError where only facts were read."""
        if self.images is None:
            raise ValueError("the pictures were looked at, not kept")
        ids, groups = self.ids, self.groups
        weights = None if self.listing.weights is None else self.listing.weights[self.rows]
        table = provenance(
            ids, groups=None if groups is None else groups.tolist(), sources=ids, weights=weights
        )
        return ImageSet(self.images, self.labels, self.listing.classes, table)

    def fingerprint(self) -> str:
        """16 hex digits that follow from every image's name, class, group, side, weight and pixels alone."""
        listing, whole, ids = self.listing, hashlib.sha256(), self.ids
        for at in sorted(range(len(ids)), key=ids.__getitem__):
            row = self.rows[at]
            told = [ids[at], listing.classes[listing.labels[row]]]
            told += [
                "" if column is None else str(column[row])
                for column in (listing.groups, listing.splits, listing.weights)
            ]
            whole.update("\0".join(told).encode("utf-8", "surrogatepass") + b"\n")
            whole.update(self.facts.content[at].tobytes())
        return whole.hexdigest()[:16]


def survey(listing: Listing, options: ImageOptions) -> Survey:
    """Size and channels as asked, else the next size below the pictures' median short side."""
    sides, areas, colour = [], [], False
    looked = np.unique(np.linspace(0, len(listing) - 1, min(LOOKED_AT, len(listing))).astype(int))
    with quiet():
        for blob in listing.fetch(looked) if len(listing) else ():
            picture = _glimpse(blob, options.window)
            if picture is None:
                continue  # named, with its reason, when all are read
            sides.append(min(picture.size))
            areas.append(picture.size[0] * picture.size[1])
            colour = colour or _coloured(picture)
    side = float(np.median(sides)) if sides else float(SIZES[0])
    fitting = [size for size in SIZES if size <= min(side, LARGEST)]
    size = options.size or (fitting[-1] if fitting else SIZES[0])
    channels: int = options.channels or (3 if colour else 1)
    about = f"median short side {side:g} px, {'colour' if colour else 'grey'}"
    pixels = int(np.median(areas)) if areas else 0
    return Survey(listing.counts(), ImageSpec(size, channels), about, pixels)


def _glimpse(blob: Blob, asked: Window | None) -> Any:
    guesses: tuple[Window, ...] = ("full", (0.0, 1.0))
    for window in (asked, *guesses):
        try:
            return decode(blob, window).pixels
        except UNREADABLE:
            continue
    return None


def picture(blob: Blob, spec: ImageSpec, window: Window | None) -> NDArray[np.uint8] | None:
    """One blob → uint8 (C,H,W), fitted; None where it cannot be used."""
    with quiet():
        try:
            return read(blob, spec, "fit", window).image
        except UNREADABLE:
            return None


def read_pictures(
    blobs: Sequence[Blob], names: Sequence[str], options: ImageOptions
) -> NDArray[np.uint8]:
    """Pictures → uint8 (N,C,H,W), each with the pixels that `take_in` gives it.

    options: with size and channels. Raises UserError with the name of the first picture that cannot be read.
    """
    if options.size is None or options.channels is None:
        raise ValueError("image options without size or channels")
    spec = ImageSpec(options.size, options.channels)
    images = np.empty((len(blobs), *spec.shape), np.uint8)
    with quiet():
        for at, blob in enumerate(blobs):
            try:
                images[at] = read(blob, spec, options.resize, options.window).image
            except UNREADABLE as error:
                raise UserError(f"cannot read {names[at]}: {_reason(error)}") from None
    return images


def _coloured(picture: Any) -> bool:
    """Whether an RGB picture has colour: X-rays are often stored as RGB with three equal channels."""
    if picture.mode != "RGB":
        return False
    pixels = np.asarray(picture.resize((64, 64), 0)).astype(np.int16)
    return bool((pixels.max(2) - pixels.min(2)).max() > COLOURED)


def take_in(
    listing: Listing,
    options: ImageOptions,
    policy: Policy | None = None,
    *,
    folder: Path | None = None,
    found: Survey | None = None,
    progress: Progress = lambda done, total: None,
) -> Intake:
    """Read every picture once.

    folder: where the images are written, memory-mapped; None: only facts are kept. found: what `survey`
    found, where it was asked before. policy: what to do with
    bad files; None: go on whatever they are. UserError where the policy stops.
    """
    work = _Work(listing, options, found or survey(listing, options), policy)
    bad, sink = list(listing.bad), _Sink(len(listing))
    if policy is not None and listing.lost:
        raise UserError(f"cannot enter {listing.lost[0]}")
    check_bad(bad, work.files, policy)
    with quiet():
        if folder is None:
            _pour(work, sink, bad, None, progress)
            return _finished(work, sink, bad, None)
        with image_writer(folder, len(listing), work.found.spec) as images:
            _pour(work, sink, bad, images, progress)
            return _finished(work, sink, bad, images[: sink.n])


@dataclass(frozen=True)
class _Work:
    """What is read, and how."""

    listing: Listing
    options: ImageOptions
    found: Survey
    policy: Policy | None

    @property
    def files(self) -> int:
        """Good and bad ones."""
        return len(self.listing) + len(self.listing.bad)


def _pour(
    work: _Work,
    sink: _Sink,
    bad: list[Bad],
    images: NDArray[np.uint8] | None,
    progress: Progress,
) -> None:
    """Read all, the good ones one after the other into `images`."""
    listing = work.listing
    for start, results in _chunks(listing.fetch(np.arange(len(listing))), work):
        for at, result in enumerate(results, start):
            if isinstance(result, Read):
                if images is not None:
                    images[sink.n] = result.image
                sink.add(at, result)
            else:
                label = listing.classes[listing.labels[at]]
                bad.append(Bad(listing.ids[at], _reason(result), label))
        check_bad(bad, work.files, work.policy)
        progress(start + len(results), len(listing))


def _chunks(blobs: Iterator[Blob], work: _Work) -> Iterator[tuple[int, list[Read | Exception]]]:
    """Blocks of results, with the row of the first. Threads where decoding outweighs the interpreter."""
    window = work.options.window

    def one(blob: Blob) -> Read | Exception:
        try:
            return read(blob, work.found.spec, work.options.resize, window)
        except UNREADABLE as error:
            return error

    start, threads = 0, cores()
    big = work.found.pixels >= BIG and threads > 1
    with ThreadPoolExecutor(threads) as pool:
        while True:
            block = islice(blobs, 2 * threads if big else CHUNK)
            # Small ones one by one: a block of undecoded files may hold gigabytes.
            results = list(pool.map(one, block)) if big else [one(blob) for blob in block]
            if not results:
                return
            yield start, results
            start += len(results)


def _reason(error: Exception) -> str:
    """Why a picture cannot be used, on one line, without Python's names and addresses."""
    name = type(error).__name__
    if name == "UnidentifiedImageError":
        return "no picture of a known format"
    if name in ("DecompressionBombError", "DecompressionBombWarning"):
        return f"a decompression bomb: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    told = " ".join(str(error).split())
    if isinstance(error, PictureError | UserError):
        return told
    plain = isinstance(error, OSError | ValueError) and told
    return f"broken: {told if plain else f'{name} {told}'.strip()}"


class _Sink:
    """Facts of the images as they come, in arrays that are filled, not lists that grow."""

    def __init__(self, n: int) -> None:
        self.n = 0
        self.rows = np.empty(n, np.int64)
        self._size = np.empty((n, 2), np.int32)
        self._kind = np.empty(n, np.int16)
        self._kinds: dict[tuple[str, str], int] = {}
        self._content = np.empty(n, "V16")
        self._hashes = np.empty(n, np.uint64)
        self._thumbs = np.empty((n, KEPT_THUMB, KEPT_THUMB), np.uint8)
        self._tints = np.zeros((n, 2), np.int16)
        self._waiting: list[NDArray[np.uint8]] = []
        self.notes: Counter[str] = Counter()

    def add(self, row: int, one: Read) -> None:
        """Enter one image."""
        at = self.n
        self.rows[at] = row
        self._size[at] = one.width, one.height
        self._kind[at] = self._kinds.setdefault((one.mode, one.format), len(self._kinds))
        self._content[at] = one.content
        if len(one.image) == 3:
            red, green, blue = one.image.reshape(3, -1).mean(1)
            self._tints[at] = round(red - green), round(green - blue)
        self._waiting.append(one.thumb)
        self.notes.update(one.notes)
        self.n += 1
        if len(self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            thumbs = np.stack(self._waiting)
            own = slice(self.n - len(thumbs), self.n)
            self._hashes[own] = perceptual_hashes(thumbs)
            half = THUMB // KEPT_THUMB
            parts = thumbs.reshape(-1, KEPT_THUMB, half, KEPT_THUMB, half).astype(np.float32)
            self._thumbs[own] = np.round(parts.mean((2, 4)))
            self._waiting = []

    def facts(self) -> Facts:
        """What was entered."""
        self._flush()
        n, kinds = self.n, list(self._kinds)
        modes = np.array([mode for mode, _ in kinds], object)
        formats = np.array([of for _, of in kinds], object)
        kind = self._kind[:n]
        return Facts(
            self._size[:n, 0], self._size[:n, 1], modes[kind] if kinds else np.empty(0, object),
            formats[kind] if kinds else np.empty(0, object), self._content[:n], self._hashes[:n],
            self._thumbs[:n], self._tints[:n],
        )  # fmt: skip


def _finished(work: _Work, sink: _Sink, bad: list[Bad], images: NDArray[np.uint8] | None) -> Intake:
    notes = work.listing.notes
    notes += tuple(f"{several(n, 'picture')}: {told}" for told, n in sink.notes.items())
    rows = sink.rows[: sink.n]
    return Intake(work.listing, rows, images, work.found.spec, sink.facts(), tuple(bad), notes)
