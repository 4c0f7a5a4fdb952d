"""A source's splits labelled by cells of class and attributes, for generators that are trained on these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.classifiers.plans import plan_cells
from augpipe.core.counts import counts_of, label_of
from augpipe.core.errors import UserError, choices
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref, SplitRefs
from augpipe.core.store import Store, load_images
from augpipe.data.cells import cells
from augpipe.data.split_check import NAMES
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Outline
from augpipe.pipeline.records import ATTRIBUTE, CellSplits


def cell_splits(
    experiment: Outline, store: Store, refs: SplitRefs, attributes: pd.DataFrame | None
) -> tuple[CellSplits, ...]:
    """The splits by the cells of each fill by attributes, without copies of the pixels.

    attributes: see `Prepared.attributes`. UserError if a fill would draw nothing.
    """
    wanted = {arm.mix.attributes: arm for arm in experiment.arms if arm.mix.attributes}
    if attributes is None:
        return ()
    splits = []
    for by, arm in wanted.items():
        split = _split(store, refs, {name: attributes[f"{ATTRIBUTE}{name}"].to_numpy(object) for name in by}, by)
        if not plan_cells(split.counts["train"], split.known):
            raise UserError(
                f"mix.fill of arm {arm.name!r} draws no images: every combination of class and {' and '.join(by)} has "
                f"{max(split.counts['train'].values())} training images"
            )
        splits.append(split)
    return tuple(splits)


def empty_cells(splits: Sequence[CellSplits]) -> tuple[str, ...]:
    """A line for each fill that has cells without training images, which val or test have."""
    lines = []
    for split in splits:
        names = [split.classes[cell] for cell, n in split.counts["train"].items() if not n and split.known[cell]]
        if names:
            lines.append(
                f"the fill by class and {' and '.join(split.by)} adds no images of {choices(names)}: train has none"
            )
    return tuple(lines)


def _split(store: Store, refs: SplitRefs, values: Mapping[str, NDArray[np.object_]], by: Sequence[str]) -> CellSplits:
    sets = {name: load_images(getattr(refs, name)) for name in NAMES}
    labels = np.concatenate([np.array(one.labels) for one in sets.values()])
    of = cells(labels, sets["train"].classes, values)
    parts = dict(zip(NAMES, np.split(of.labels, np.cumsum([len(one) for one in sets.values()])[:-1]), strict=True))
    return CellSplits(
        by=tuple(by),
        classes=of.names,
        class_of=of.class_of,
        known=of.known,
        counts={name: counts_of(part, len(of.names)) for name, part in parts.items()},
        splits=SplitRefs(**{name: _relabelled(store, getattr(refs, name), parts[name], of.names) for name in NAMES}),
    )


def _relabelled(store: Store, of: Ref, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Ref:
    images = load_images(of)
    return store.put_labels(of, ImageSet(images.images, labels, classes, images.table))


def cell_images(arm: Arm, split: CellSplits, classes: Sequence[str]) -> dict[int, int]:
    """Cell → number of synthetic images of an arm's fill; without cells of classes whose share is 0."""
    share = arm.mix.share
    shown = {label_of(n, classes) for n, s in share.items() if s} if isinstance(share, Mapping) else set(split.class_of)
    planned = plan_cells(split.counts["train"], split.known)
    return {cell: n for cell, n in planned.items() if split.class_of[cell] in shown}
