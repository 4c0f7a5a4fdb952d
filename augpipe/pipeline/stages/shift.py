"""Reads the second test set (`source.shift`) and stores it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from augpipe.core.image_folders import keep_rows, write_labels
from augpipe.core.image_spec import ImageSpec
from augpipe.core.options import SHIFT
from augpipe.core.refs import Ref
from augpipe.core.store import Store
from augpipe.data.facts import Facts
from augpipe.data.intake import Intake, Progress
from augpipe.data.sources import Bad
from augpipe.pipeline.experiment import Outline
from augpipe.pipeline.shift import read_shift


@dataclass(frozen=True)
class Shift:
    """The stored images, their ids and facts, and what was left out. fingerprint: of source and second test set."""

    images: Ref
    ids: Sequence[str]
    facts: Facts
    fingerprint: str
    bad: tuple[Bad, ...]
    removed: Mapping[str, tuple[str, str]]  # id → class, reason
    notes: tuple[str, ...]


def take_shift(store: Store, experiment: Outline, spec: ImageSpec, intake: Intake, progress: Progress) -> Shift | None:
    """The second test set in the shape of the source's images; None without one. intake: of the source."""
    with store.scratch() as scratch:
        second = read_shift(experiment, spec, intake, scratch, progress)
        if second is None:
            return None
        read, rows = second.intake, second.rows
        images = read.image_set()
        labels, table = images.labels[rows], images.table.iloc[rows].reset_index(drop=True)
        if read.groups is not None:
            table["group"] = np.array([f"{SHIFT}/{group}" for group in table["group"]], object)
        keep_rows(scratch, rows)
        write_labels(scratch, labels, images.classes, table)
        ref = store.adopt("images", scratch)
    both = hashlib.sha256(f"{intake.fingerprint()} {read.fingerprint()}".encode()).hexdigest()[:16]
    ids = [read.ids[row] for row in rows.tolist()]
    return Shift(ref, ids, read.facts.at(rows), both, read.bad, second.removed, second.notes)
