"""The stage that reads the source: intake, split, imbalance, store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augpipe.classifiers import models as classifiers
from augpipe.classifiers.plans import plan
from augpipe.core.counts import Counts, label_of, require_classes
from augpipe.core.errors import UserError
from augpipe.core.image_folders import keep_rows, write_labels
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy, numpy_stream
from augpipe.core.store import Ref, SplitRefs, Store
from augpipe.data import clean as partition
from augpipe.data import leaks, sources
from augpipe.data.imbalance import Imbalance, thin
from augpipe.data.intake import Intake, Progress, Survey, survey, take_in
from augpipe.data.quarantine import quarantine
from augpipe.data.split import NAMES
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.experiment import Arm, Experiment
from augpipe.pipeline.records import IntakeRecord, Prepared


def prepare(
    context: Context,
    experiment: Experiment,
    seed: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """source → split → thinned train, the pixels stored once; every arm's fill is validated before training.

    Never cached, because it reads the source. seed: draws a separate split for this seed; None: the experiment's split.
    """
    timer, store = Timer(), context.store
    policy, options = experiment.policy, experiment.split
    if seed is not None:
        options = options.model_copy(update={"seed": entropy(options.seed, "resplit", seed)})
    listing = partition.drop_small_classes(sources.listing(experiment.source), policy.min_images)
    require_classes(listing.classes)
    partition.check_names(listing.classes)
    surveyed = survey(listing, experiment.image)
    _check(experiment, surveyed, listing.classes)
    with store.scratch() as scratch:
        intake = take_in(
            listing, experiment.image, policy, folder=scratch, found=surveyed, progress=progress
        )
        partition.check_classes(intake, policy.min_images)
        partitioned = partition.part(intake, options, policy, numpy_stream(options.seed, "split"))
        _check_resplit(seed, partitioned)
        images = intake.image_set()
        thinned = _thinned(images, partitioned.rows["train"], experiment.imbalance, options.seed)
        rows = {**partitioned.rows, "train": thinned}
        counts = {name: images.counts(rows[name]) for name in NAMES}
        leaks.check_disjoint(rows, intake.ids)
        data, refs = _store(store, scratch, images, rows)
    for arm in experiment.arms:
        # Raises UserError for unknown classes.
        images_to_make(arm, counts["train"], images.classes)
    return Prepared(
        data=data,
        splits=refs,
        classes=images.classes,
        size=surveyed.spec.size,
        channels=surveyed.spec.channels,
        counts=counts,
        fingerprint=f"{entropy(0, *(getattr(refs, name).sha256 for name in NAMES)):016x}",
        intake=_record(intake, partitioned),
        quarantine=store.put_table("quarantine", quarantine(intake.bad, partitioned.removed)),
        time=timer.stop(),
    )


def _check(experiment: Experiment, surveyed: Survey, classes: tuple[str, ...]) -> None:
    """UserError if a generator or the classifier does not support the images, or a share names an unknown class."""
    for name in {name for arm in experiment.arms for name in arm.generators}:
        families.check(experiment.generators[name], Problem(surveyed.spec, classes))
    classifiers.check(
        experiment.classifier, surveyed.spec.channels, len(classes), surveyed.spec.size
    )
    for transform in (arm.mix.transform for arm in experiment.arms):
        if isinstance(transform, Mapping):
            from augpipe.classifiers.transforms import check_images  # imports albumentations

            check_images(transform, surveyed.spec.channels, surveyed.spec.size)
    for share in (arm.mix.share for arm in experiment.arms):
        for name in share if isinstance(share, Mapping) else ():
            label_of(name, classes)


def _check_resplit(seed: int | None, partitioned: partition.Partition) -> None:
    """UserError if a split is to be drawn for a seed, but the source has one of its own."""
    if seed is not None and partitioned.kind == "official":
        raise UserError(
            "resplit draws a split for each seed, but the source has an official one: set split.kind to stratified, "
            "grouped or k_fold"
        )


def images_to_make(arm: Arm, have: Counts, classes: tuple[str, ...]) -> dict[int, int]:
    """Class → number of synthetic images of an arm's fill; without classes whose share is 0; empty without a generator."""
    if not arm.generator:
        return {}
    share = arm.mix.share
    shown = (
        {label_of(n, classes) for n, s in share.items() if s}
        if isinstance(share, Mapping)
        else have
    )
    return {c: n for c, n in plan(arm.mix.fill, have, classes).items() if c in shown}


def _thinned(
    images: ImageSet, rows: NDArray[np.int64], imbalance: Imbalance, seed: int
) -> NDArray[np.int64]:
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
    return data, SplitRefs(
        **{name: store.put_rows(data, start, stop) for name, start, stop in ranges}
    )


def _record(intake: Intake, partitioned: partition.Partition) -> IntakeRecord:
    groups = intake.groups
    return IntakeRecord(
        fingerprint=intake.fingerprint(),
        images=len(intake.rows),
        quarantined=len(intake.bad),
        removed=len(partitioned.removed),
        ignored=dict(sorted(intake.listing.ignored.items())),
        split=partitioned.kind,
        groups=None if groups is None else len(set(groups.tolist())),
        notes=(*intake.notes, *partitioned.notes),
    )
