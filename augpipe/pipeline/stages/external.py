"""Reads the images of generators whose images were made elsewhere, checks them against val and test, stores them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.core.image_folders import keep_rows, write_labels
from augpipe.core.images import SYNTHETIC, ImageSet, provenance
from augpipe.core.refs import Ref
from augpipe.core.seeds import numpy_stream
from augpipe.core.store import Store, load_images
from augpipe.data.external import ExternalImages, group_notes, known_images, without_copies, without_held_out
from augpipe.data.external_listing import naming
from augpipe.data.intake import Intake, Progress, take_in
from augpipe.data.sources import Bad
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.external import list_external, list_starts
from augpipe.pipeline.stages.shift import Shift
from augpipe.synthetic.fidelity.exchange import subsample
from augpipe.synthetic.held_out import SEEN, nearer_to_held_out

Rows = NDArray[np.int64]


@dataclass
class External:
    """Stored images by generator, and what was left out. fingerprint: of all these images.

    starts: of the other set on which a generator is trained first.
    """

    fingerprint: str = ""
    images: dict[str, Ref] = field(default_factory=dict)
    starts: dict[str, Ref] = field(default_factory=dict)
    bad: tuple[Bad, ...] = ()
    removed: dict[str, tuple[str, str]] = field(default_factory=dict)  # id → class, reason
    notes: tuple[str, ...] = ()


def take_external(
    store: Store,
    experiment: Experiment,
    intake: Intake,
    rows: Mapping[str, Rows],
    shift: Shift | None,
    progress: Progress,
) -> External | None:
    """The images of each generator of images made elsewhere, and of each other set on which a generator is trained
    first, in the shape of the experiment's; None without one.

    intake: of the experiment, with its pixels. rows: of its train, val and test. shift: the second test set. UserError
    for images that equal one of val, test or the second test set, or are of a group of val or test.
    """
    listings, others = list_external(experiment, intake.listing.classes), list_starts(experiment)
    if not listings and not others:
        return None
    external, known, spec = External(), known_images(intake, rows), intake.spec
    if shift is not None:
        known = known.with_test(shift.ids, shift.facts, load_images(shift.images).digests)
    options = experiment.image.model_copy(update={"size": spec.size, "channels": spec.channels})
    real = intake.image_set()
    for name, listing in listings.items():
        external.notes += group_notes(name, listing.groups, intake.groups, rows)
        with store.scratch() as scratch:
            with naming(name):
                read = take_in(listing, options, experiment.policy, folder=scratch, progress=progress)
            checked = without_held_out(name, read, known)
            ref = external.images[name] = _stored(store, scratch, name, checked)
        note = _seen(name, load_images(ref), real, rows, experiment.split.seed)
        _add(external, name, checked, (*checked.notes(name), *note))
    for name, listing in others.items():
        external.notes += group_notes(f"{name}.start", listing.groups, intake.groups, rows)
        with store.scratch() as scratch:
            with naming(f"{name}.start"):
                read = take_in(listing, options, experiment.policy, folder=scratch, progress=progress)
            checked = without_copies(read, known)
            if not len(checked.rows):
                raise UserError(f"generators.{name}.start.source: all its images are copies of images of val or test")
            external.starts[name] = _stored(store, scratch, name, checked)
        _add(external, f"{name}.start", checked, _start_notes(name, checked))
    return external


def _add(external: External, name: str, checked: ExternalImages, notes: tuple[str, ...]) -> None:
    external.bad += checked.intake.bad
    external.removed |= checked.removed
    external.notes += notes
    both = f"{external.fingerprint} {name} {checked.intake.fingerprint()}"
    external.fingerprint = hashlib.sha256(both.encode()).hexdigest()[:16]


def _start_notes(name: str, checked: ExternalImages) -> tuple[str, ...]:
    n, classes = len(checked.rows), len(set(checked.intake.labels[checked.rows].tolist()))
    lines = [f"{name} starts on another set: {several(n, 'image')} of {several(classes, 'class')}"]
    if checked.intake.bad:
        lines.append(f"{several(len(checked.intake.bad), 'file')} of it cannot be used; quarantine.csv says why")
    if checked.removed:
        lines.append(f"{several(len(checked.removed), 'image')} of it nearly equal to one of val or test: left out")
    return tuple(lines)


def _stored(store: Store, scratch: Path, name: str, checked: ExternalImages) -> Ref:
    # As synthetic images they are none of the experiment's: the leak guard compares their pixels with val and test.
    read, rows = checked.intake, checked.rows
    ids = [read.ids[row] for row in rows.tolist()]
    keep_rows(scratch, rows)
    table = provenance(ids, origin=SYNTHETIC, sources=[name] * len(ids))
    write_labels(scratch, read.labels[rows], read.listing.classes, table)
    return store.adopt("images", scratch)


def _seen(name: str, images: ImageSet, real: ImageSet, rows: Mapping[str, Rows], seed: int) -> tuple[str, ...]:
    """A message on the test whether the images lie nearer to val and test than to train."""
    rng = numpy_stream(seed, "external", name)
    sides = (rows["train"], np.concatenate([rows["val"], rows["test"]]))
    train, held_out = (real.take(_some(of, real.labels, rng)) for of in sides)
    p, why = nearer_to_held_out(images, train, held_out, rng)
    if why:
        return (f"{name}: whether its images lie nearer to val and test than to train is not known: {why}",)
    if p > SEEN:
        return (f"{name}: its images lie no nearer to val and test than to train (p {p:.3g})",)
    return (
        f"{name}: its images lie nearer to val and test than to train (p {p:.3g}): whoever made them had seen these, "
        "and its scores are too high",
    )


def _some(rows: Rows, labels: Rows, rng: np.random.Generator) -> Rows:
    """At most `exchange.MOST` random rows of each class, which fit into memory."""
    by_class = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate([subsample(of, rng) for of in by_class]))
