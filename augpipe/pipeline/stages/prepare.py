"""The stage that reads the source: intake, split, imbalance, store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.classifiers.plans import plan
from augpipe.classifiers.scores import minority
from augpipe.comparison.options import METRICS
from augpipe.core.counts import Counts, label_of
from augpipe.core.errors import UserError, choices
from augpipe.core.image_folders import keep_rows, write_labels
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref, SplitRefs
from augpipe.core.seeds import entropy, numpy_stream
from augpipe.core.store import Store
from augpipe.data import clean as partition
from augpipe.data import leaks
from augpipe.data.copied_classes import check_copied_classes
from augpipe.data.imbalance import Imbalance, thin
from augpipe.data.intake import Intake, Progress, take_in
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.quarantine import quarantine
from augpipe.data.sources import Listing
from augpipe.data.split_check import NAMES
from augpipe.data.survey import Survey, survey
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import ATTRIBUTE, IntakeRecord, Prepared
from augpipe.pipeline.stages.cells import cell_splits, empty_cells
from augpipe.pipeline.stages.external import External, take_external
from augpipe.pipeline.stages.shift import Shift, take_shift
from augpipe.pipeline.validate import check_images, check_listing, list_images, list_shift


def prepare(
    context: Context, experiment: Experiment, seed: int | None = None, progress: Progress = lambda done, total: None
) -> Prepared:
    """source → split → thinned train, the pixels stored once; mistakes that the listing shows are reported before
    pictures are read.

    Never cached, because it reads the source. seed: draws a separate split for this seed; None: the experiment's split.
    """
    timer, store = Timer(), context.store
    policy, options = experiment.policy, _split_options(experiment, seed)
    listing, surveyed = _surveyed(experiment)
    with store.scratch() as scratch:
        intake = take_in(listing, experiment.image, policy, folder=scratch, found=surveyed, progress=progress)
        partition.check_classes(intake, policy.min_images)
        check_copied_classes(intake, policy)
        partitioned = partition.part(intake, options, policy, numpy_stream(options.seed, "split"))
        images = intake.image_set()
        thinned = _thinned(images, partitioned.rows["train"], experiment.imbalance, options.seed)
        rows = {**partitioned.rows, "train": thinned}
        counts = {name: images.counts(rows[name]) for name in NAMES}
        leaks.check_disjoint(rows, intake.ids)
        check_fractions(experiment, counts["train"], images.classes)
        check_metric(experiment, counts["train"])
        shift = take_shift(store, experiment, surveyed.spec, intake, progress)
        external = take_external(store, experiment, intake, rows, shift, progress)
        data, refs = _store(store, scratch, images, rows)
        attributes = _attributes(intake, rows)
        cells = cell_splits(experiment, store, refs, attributes)
        for one in cells:
            check_images(experiment, surveyed.spec, one.classes)
    return Prepared(
        data=data,
        splits=refs,
        classes=images.classes,
        size=surveyed.spec.size,
        channels=surveyed.spec.channels,
        counts=counts,
        fingerprint=f"{entropy(0, *(getattr(refs, name).sha256 for name in NAMES)):016x}",
        torn_groups=partitioned.torn > 0,
        intake=_with_external(_with_shift(_record(intake, partitioned, policy, empty_cells(cells)), shift), external),
        quarantine=store.put_table("quarantine", _quarantine(intake, partitioned, shift, external)),
        attributes=None if attributes is None else store.put_table("attributes", attributes),
        cells=cells,
        shift=None if shift is None else shift.images,
        external={} if external is None else external.images,
        starts={} if external is None else external.starts,
        time=timer.stop(),
    )


def _surveyed(experiment: Experiment) -> tuple[Listing, Survey]:
    """The listing and what its pictures are like; UserError for what they show before all are read."""
    listing = list_images(experiment)
    check_listing(experiment, listing)
    list_shift(experiment, listing.classes)
    surveyed = survey(listing, experiment.image)
    check_images(experiment, surveyed.spec, listing.classes)
    return listing, surveyed


def _split_options(experiment: Experiment, seed: int | None) -> SplitOptions:
    """The experiment's options of the split, with a separate seed for the split of `seed`."""
    options = experiment.split
    if seed is None:
        return options
    return options.model_copy(update={"seed": entropy(options.seed, "resplit", seed)})


def _attributes(intake: Intake, rows: Mapping[str, NDArray[np.int64]]) -> pd.DataFrame | None:
    """`split, id` and a column for each attribute, in the order of the splits; None if there are none."""
    if not intake.attributes:
        return None
    ids = np.array(intake.ids, object)
    columns = {f"{ATTRIBUTE}{name}": values for name, values in intake.attributes.items()}
    tables = [
        pd.DataFrame({"split": name, "id": ids[of], **{k: v[of] for k, v in columns.items()}})
        for name, of in rows.items()
    ]
    return pd.concat(tables, ignore_index=True)


def images_to_make(arm: Arm, have: Counts, classes: tuple[str, ...]) -> dict[int, int]:
    """Class → number of synthetic images of an arm's fill; without classes whose share is 0;
    empty without a generator.
    """
    if not arm.generator:
        return {}
    share = arm.mix.share
    shown = {label_of(n, classes) for n, s in share.items() if s} if isinstance(share, Mapping) else have
    return {c: n for c, n in plan(arm.mix.fill, have, classes).items() if c in shown}


def check_fractions(experiment: Experiment, have: Counts, classes: tuple[str, ...]) -> None:
    """UserError if an arm's fill is a fraction of the largest class that every class has:
    its generator would draw nothing.
    """
    for arm in experiment.arms:
        fill = arm.mix.fill
        if arm.generator and isinstance(fill, float) and not images_to_make(arm, have, classes):
            raise UserError(
                f"mix.fill of arm {arm.name!r} is {fill:g}, so its generator draws no images: the largest class has "
                f"{max(have.values())} training images, the smallest {min(have.values())}"
            )


def check_metric(experiment: Experiment, train: Counts) -> None:
    """UserError if a run with these training images of each class cannot give its metric."""
    metric = experiment.metric
    if metric == "minority_recall" and not minority(train):
        have = [name for name in METRICS if name != metric]
        raise UserError(
            f"metric: minority_recall needs classes with fewer training images than the mean, but every class has "
            f"{max(train.values())}; choose from {choices(have)}"
        )


def _thinned(images: ImageSet, rows: NDArray[np.int64], imbalance: Imbalance, seed: int) -> NDArray[np.int64]:
    target = imbalance.target(images.counts(rows), images.classes)
    return rows[thin(images.labels[rows], target, numpy_stream(seed, "thin"))]


def _store(
    store: Store, scratch: Path, images: ImageSet, rows: Mapping[str, NDArray[np.int64]]
) -> tuple[Ref, SplitRefs]:
    """Order the pixels in `scratch` as train, val, test, and store them; each split is a range of these rows."""
    order = np.concatenate([rows[name] for name in NAMES])
    keep_rows(scratch, order)
    table = images.table.iloc[order].reset_index(drop=True)
    write_labels(scratch, images.labels[order], images.classes, table)
    data = store.adopt("images", scratch)
    ends = np.cumsum([0, *(len(rows[name]) for name in NAMES)]).tolist()
    ranges = zip(NAMES, ends[:-1], ends[1:], strict=True)
    return data, SplitRefs(**{name: store.put_rows(data, start, stop) for name, start, stop in ranges})


def _with_shift(record: IntakeRecord, shift: Shift | None) -> IntakeRecord:
    if shift is None:
        return record
    return record.model_copy(update={"fingerprint": shift.fingerprint, "notes": (*record.notes, *shift.notes)})


def _with_external(record: IntakeRecord, external: External | None) -> IntakeRecord:
    if external is None:
        return record
    both = f"{record.fingerprint} {external.fingerprint}"
    fingerprint = hashlib.sha256(both.encode()).hexdigest()[:16]
    return record.model_copy(update={"fingerprint": fingerprint, "notes": (*record.notes, *external.notes)})


def _quarantine(
    intake: Intake, partitioned: partition.Partition, shift: Shift | None, external: External | None
) -> pd.DataFrame:
    bad, removed = [*intake.bad], dict(partitioned.removed)
    for more in (shift, external):
        if more is not None:
            bad += more.bad
            removed |= more.removed
    return quarantine(tuple(bad), removed)


def _record(
    intake: Intake, partitioned: partition.Partition, policy: Policy, notes: tuple[str, ...] = ()
) -> IntakeRecord:
    groups, near = intake.groups, partitioned.near
    return IntakeRecord(
        fingerprint=intake.fingerprint(),
        images=len(intake.rows),
        quarantined=len(intake.bad),
        removed=len(partitioned.removed),
        near_copies=0.0 if near is None or policy.duplicates == "near" else near.fraction["test"],
        ignored=dict(sorted(intake.listing.ignored.items())),
        split=partitioned.kind,
        groups=None if groups is None else len(set(groups.tolist())),
        notes=(*intake.notes, *partitioned.notes, *notes),
        limits=partitioned.limits,
    )
