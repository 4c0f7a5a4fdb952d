"""The stage that reads the source: take in, split, thin, store."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from augpipe.classifiers import models as classifiers
from augpipe.classifiers.plans import plan
from augpipe.core.counts import Counts, label_of, require_classes
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy, numpy_stream
from augpipe.core.store import SplitRefs
from augpipe.data import clean as partition
from augpipe.data import sources
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
    """source → split → thinned train, each stored; every arm's fill is checked before anything is trained.

    Never cached: it reads the source itself. seed: of a replicate with a split of its own; None for the experiment's.
    """
    timer, store = Timer(), context.store
    policy, options = experiment.policy, experiment.split
    if seed is not None:
        options = options.model_copy(update={"seed": entropy(options.seed, "resplit", seed)})
    listed = partition.without_small(sources.listing(experiment.source), policy.min_images)
    require_classes(listed.classes)
    partition.check_names(listed.classes)
    found = survey(listed, experiment.image)
    _check(experiment, found, listed.classes)
    with store.scratch() as scratch:
        taken = take_in(
            listed, experiment.image, policy, folder=scratch, found=found, progress=progress
        )
        partition.check_classes(taken, policy.min_images)
        parted = partition.part(taken, options, policy, numpy_stream(options.seed, "split"))
        if seed is not None and parted.kind == "official":
            raise UserError(
                "resplit draws a split for each seed, and the source has its own: set split.kind to stratified, "
                "grouped or k_fold"
            )
        images = taken.image_set()
        thinned = _thinned(images, parted.rows["train"], experiment.imbalance, options.seed)
        rows = {**parted.rows, "train": thinned}
        data = store.put_images(images)
        refs = SplitRefs(**{name: store.put_images(images, rows[name]) for name in NAMES})
        counts = {name: images.counts(rows[name]) for name in NAMES}
    for arm in experiment.arms:
        images_to_make(
            arm, counts["train"], images.classes
        )  # UserError for a class that is not there
    return Prepared(
        data=data,
        splits=refs,
        classes=images.classes,
        size=found.spec.size,
        channels=found.spec.channels,
        counts=counts,
        fingerprint=f"{entropy(0, *(getattr(refs, name).sha256 for name in NAMES)):016x}",
        intake=_record(taken, parted),
        quarantine=store.put_table("quarantine", quarantine(taken.bad, parted.removed)),
        time=timer.stop(),
    )


def _check(experiment: Experiment, found: Survey, classes: tuple[str, ...]) -> None:
    """UserError for a generator or a classifier that cannot make or take such images, or a share of no class."""
    for name in {name for arm in experiment.arms for name in arm.generators}:
        families.check(experiment.generators[name], Problem(found.spec, classes))
    classifiers.check(experiment.classifier, found.spec.channels, len(classes), found.spec.size)
    for share in (arm.mix.share for arm in experiment.arms):
        for name in share if isinstance(share, Mapping) else ():
            label_of(name, classes)


def images_to_make(arm: Arm, have: Counts, classes: tuple[str, ...]) -> dict[int, int]:
    """Class → synthetic images that an arm's fill asks for; none of a class whose share is 0, none without a generator."""
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


def _record(taken: Intake, parted: partition.Partition) -> IntakeRecord:
    groups = taken.groups
    return IntakeRecord(
        fingerprint=taken.fingerprint(),
        images=len(taken.rows),
        quarantined=len(taken.bad),
        removed=len(parted.removed),
        ignored=dict(sorted(taken.listing.ignored.items())),
        split=parted.kind,
        groups=None if groups is None else len(set(groups.tolist())),
        notes=(*taken.notes, *parted.notes),
    )
