"""Read a source's pictures into one array: streamed, checked and hashed; unusable ones are listed with a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.core.image_folders import image_writer
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, provenance
from augpipe.core.machine import cores
from augpipe.core.options import ImageOptions, Window
from augpipe.data.facts import Facts, FactsBuffer
from augpipe.data.options import Policy
from augpipe.data.quarantine import check_bad, reason, reason_for_model
from augpipe.data.sources._eight_bits import EIGHT_BITS
from augpipe.data.sources._listing import Bad, Listing
from augpipe.data.sources._pictures import UNREADABLE, Blob, Read, quiet, read
from augpipe.data.survey import Survey, survey

CHUNK: Final = 512  # small pictures per block
BIG: Final = 128 * 128  # median pixels above which decoding in threads pays off
Progress = Callable[[int, int], None]  # images done, total


@dataclass(frozen=True)
class Intake:
    """All usable images of a source. `rows`: their rows in the listing, int64 (N,); `images`: uint8 (N,C,H,W), None
    if only facts were requested. unwindowed: number of pictures that a set image.window does not change."""

    listing: Listing
    rows: NDArray[np.int64]
    images: NDArray[np.uint8] | None
    spec: ImageSpec
    facts: Facts
    bad: tuple[Bad, ...]
    notes: tuple[str, ...]
    unwindowed: int = 0

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return self.listing.labels[self.rows]

    @property
    def ids(self) -> list[str]:
        """Ids of the images."""
        return [self.listing.ids[int(row)] for row in self.rows]

    @property
    def groups(self) -> NDArray[np.object_] | None:
        """Group of each image, which must not be divided between splits; None if the source has none."""
        return None if self.listing.groups is None else self.listing.groups[self.rows]

    @property
    def splits(self) -> NDArray[np.object_] | None:
        """Official split of each image; None if the source has none."""
        return None if self.listing.splits is None else self.listing.splits[self.rows]

    @property
    def attributes(self) -> dict[str, NDArray[np.object_]]:
        """Name of an attribute → its value for each image, "" for none."""
        return {name: values[self.rows] for name, values in self.listing.attributes.items()}

    def image_set(self) -> ImageSet:
        """The images with their provenance; ValueError if only facts were read."""
        if self.images is None:
            raise ValueError("the images were not stored: call take_in with a folder")
        ids, groups = self.ids, self.groups
        weights = None if self.listing.weights is None else self.listing.weights[self.rows]
        table = provenance(ids, groups=None if groups is None else groups.tolist(), sources=ids, weights=weights)
        return ImageSet(self.images, self.labels, self.listing.classes, table)

    def fingerprint(self) -> str:
        """16 hex digits that depend only on id, class, group, split, weight and pixels of every image."""
        listing, digest, ids = self.listing, hashlib.sha256(), self.ids
        for index in sorted(range(len(ids)), key=ids.__getitem__):
            row = self.rows[index]
            fields = [ids[index], listing.classes[listing.labels[row]]]
            fields += [
                "" if column is None else str(column[row])
                for column in (listing.groups, listing.splits, listing.weights)
            ]
            fields += [f"{name}={values[row]}" for name, values in listing.attributes.items()]
            digest.update("\0".join(fields).encode("utf-8", "surrogatepass") + b"\n")
            digest.update(self.facts.content[index].tobytes())
        return digest.hexdigest()[:16]


def picture(blob: Blob, spec: ImageSpec, window: Window | None) -> NDArray[np.uint8] | None:
    """Decode one blob → uint8 (C,H,W), padded to the shape; None if it cannot be used."""
    with quiet():
        try:
            return read(blob, spec, "fit", window).image
        except UNREADABLE:
            return None


def read_pictures(blobs: Sequence[Blob], names: Sequence[str], options: ImageOptions) -> NDArray[np.uint8]:
    """Read pictures → uint8 (N,C,H,W), with the same pixels as from `take_in`.

    options: size and channels must be set. UserError names the first picture that cannot be read.
    """
    if options.size is None or options.channels is None:
        raise ValueError("image.size and image.channels must be set")
    spec = ImageSpec(options.size, options.channels)
    images = np.empty((len(blobs), *spec.shape), np.uint8)
    with quiet():
        for at, blob in enumerate(blobs):
            try:
                images[at] = read(blob, spec, options.resize, options.window).image
            except UNREADABLE as error:
                why = reason_for_model(error, options.window)
                raise UserError(f"cannot read {names[at]}: {why}") from None
    return images


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

    folder: where to write the images, memory-mapped; None: only facts are stored. found: result of `survey`, if
    already computed. policy: how to treat bad files; None: never stop. UserError if the policy stops the run, or if a
    folder of the source cannot be read.
    """
    job = _Job(listing, options, found or survey(listing, options), policy)
    bad, buffer = list(listing.bad), FactsBuffer(len(listing))
    if policy is not None and listing.lost:
        raise UserError(f"cannot read {listing.lost[0]}")
    check_bad(bad, job.files, policy)
    with quiet():
        if folder is None:
            _read_all(job, buffer, bad, None, progress)
            return _result(job, buffer, bad, None)
        with image_writer(folder, len(listing), job.survey.spec) as images:
            _read_all(job, buffer, bad, images, progress)
            return _result(job, buffer, bad, images[: buffer.n])


@dataclass(frozen=True)
class _Job:
    """The listing to read, and the options for reading it."""

    listing: Listing
    options: ImageOptions
    survey: Survey
    policy: Policy | None

    @property
    def files(self) -> int:
        """Number of files, good and bad."""
        return len(self.listing) + len(self.listing.bad)


def _read_all(
    job: _Job, buffer: FactsBuffer, bad: list[Bad], images: NDArray[np.uint8] | None, progress: Progress
) -> None:
    """Read all pictures; write the good ones to consecutive rows of `images` and append the others to `bad`."""
    listing = job.listing
    for start, results in _chunks(listing.fetch(np.arange(len(listing))), job):
        for row, result in enumerate(results, start):
            if isinstance(result, Read):
                if images is not None:
                    images[buffer.n] = result.image
                buffer.add(row, result)
            else:
                label = listing.classes[listing.labels[row]]
                bad.append(Bad(listing.ids[row], reason(result), label))
        check_bad(bad, job.files, job.policy)
        progress(start + len(results), len(listing))


def _chunks(blobs: Iterator[Blob], job: _Job) -> Iterator[tuple[int, list[Read | Exception]]]:
    """Yield (row of the first, results) per block; decodes large pictures in threads."""
    window = job.options.window

    def try_read(blob: Blob) -> Read | Exception:
        try:
            return read(blob, job.survey.spec, job.options.resize, window)
        except UNREADABLE as error:
            return error

    start, threads = 0, cores()
    use_threads = job.survey.pixels >= BIG and threads > 1
    with ThreadPoolExecutor(threads) as pool:
        while True:
            block = islice(blobs, 2 * threads if use_threads else CHUNK)
            # Without threads, blobs are decoded one at a time: a block of undecoded files may take gigabytes.
            results = list(pool.map(try_read, block)) if use_threads else [try_read(blob) for blob in block]
            if not results:
                return
            yield start, results
            start += len(results)


def _result(job: _Job, buffer: FactsBuffer, bad: list[Bad], images: NDArray[np.uint8] | None) -> Intake:
    notes = job.listing.notes + ((job.survey.loss,) if job.survey.loss else ())
    notes += tuple(f"{several(n, 'picture')}: {note}" for note, n in buffer.notes.items())
    rows = buffer.rows[: buffer.n]
    intake = Intake(
        job.listing, rows, images, job.survey.spec, buffer.facts(), tuple(bad), notes, buffer.notes[EIGHT_BITS]
    )
    if job.policy is not None:
        check_window(intake, job.options)
    return intake


def check_window(intake: Intake, options: ImageOptions) -> None:
    """UserError for an image.window that changes no picture."""
    if 0 < len(intake.rows) == intake.unwindowed:
        shown = options.window if options.window == "full" else list(options.window or ())
        raise UserError(f"image.window {shown} has no effect: every picture has 8 bits; remove it")
