"""Choose an experiment for a source from its images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augpipe.classifiers.plans import plan
from augpipe.core.counts import require_classes
from augpipe.data import sources
from augpipe.data.clean import drop_small_classes
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.intake import Survey, survey
from augpipe.data.options import SplitOptions
from augpipe.pipeline.experiment import Experiment, build, override

EPOCHS = 30  # passes over train of a classifier, within STEPS
STEPS = (300, 3000)
PASSES = 60  # passes over train of a generator, within KIMG
KIMG = (40.0, 200.0)
BALANCED = 1.5  # imbalance ratio below which filling up to the largest class adds hardly any images
MOST = (
    20_000  # synthetic images of all classes; training never uses more at the fractions chosen here
)
# Overrides that select the images; applied before the source is read.
_EARLY = tuple(
    f"{key}{end}" for key in ("source", "image", "split", "min_images") for end in (".", "=")
)
SMOTE_LEAST = (
    5  # images of a class; with fewer, train may have a single one, and SMOTE needs a neighbour
)


@dataclass(frozen=True)
class Choice:
    """Value chosen for a key of the config, and the reason."""

    key: str
    value: str
    why: str


def for_source(path: Path, overrides: Sequence[str] = ()) -> tuple[Experiment, tuple[Choice, ...]]:
    """Experiment with sizes, steps and arms chosen from the images at a path, and the choices.

    path: a folder, an archive, a table of files or an .npz. Keys set by `overrides` are respected and not listed as
    choices. Raises UserError if there are no images.
    """
    fixed: dict[str, Any] = {"source": sources.suggest(path)}
    for text in overrides:
        if text.startswith(_EARLY):
            override(fixed, text)
    # Validated first, so that a mistake is reported before any image is read.
    required = {"name": "x", "arms": [{"name": "x"}], "baseline": "x", **fixed}
    outline = build(required, where=str(path))
    listing = drop_small_classes(sources.listing(outline.source), outline.min_images)
    require_classes(listing.classes)
    images = survey(listing, outline.image)
    values, choices = _suggest(images, _train_counts(listing, outline.split), path, outline.split)
    values |= {key: {**values.get(key, {}), **value} if isinstance(value, dict) else value
               for key, value in fixed.items()}  # fmt: skip
    experiment = build(values, overrides, where=str(path))
    keys = [text.partition("=")[0] for text in overrides]
    return experiment, tuple(c for c in choices if not any(_about(k, c.key) for k in keys))


def _about(override_key: str, key: str) -> bool:
    return (
        override_key == key
        or override_key.startswith(f"{key}.")
        or key.startswith(f"{override_key}.")
    )


def _train_counts(listing: sources.Listing, split: SplitOptions) -> dict[int, int]:
    """Approximate number of images of each class in train."""
    if listing.splits is not None and split.kind in ("auto", "official"):
        labels = listing.labels[listing.splits == "train"]
        counts = np.bincount(labels, minlength=len(listing.classes))
        return {c: max(1, int(n)) for c, n in enumerate(counts)}
    fraction = 1 - split.val - split.test
    return {c: max(1, round(fraction * n)) for c, n in enumerate(listing.counts().values())}


def _suggest(
    images: Survey, train: dict[int, int], path: Path, split: SplitOptions
) -> tuple[dict[str, Any], tuple[Choice, ...]]:
    n_train, fewest = sum(train.values()), min(images.counts.values())
    size = images.spec.size
    steps = int(_between(round(EPOCHS * n_train / 64), *STEPS))
    kimg = _between(PASSES * n_train / 1000, *KIMG)
    fill = _fill(train, tuple(images.counts))
    smote = fewest >= SMOTE_LEAST
    values: dict[str, Any] = {
        "name": name_of(path),
        "image": {"size": size, "channels": images.spec.channels},
        "split": split.model_dump(),
        "generators": _generators(kimg, 0.25 if size <= 16 else 0.5, smote),
        "classifier": {"width": 0.5 if size <= 32 else 1.0, "steps": steps},
        "arms": _arms(fill, smote),
        "baseline": "real",
        "seeds": 3,
    }
    names = ", ".join(arm["name"] for arm in values["arms"])
    choices = (
        Choice("image.size", str(size), images.about),
        Choice("image.channels", str(images.spec.channels), images.about),
        Choice("classifier.steps", str(steps), f"{EPOCHS} passes of {n_train} training images"),
        Choice(
            "generators.acgan.kimg",
            f"{kimg:g}",
            f"{PASSES} passes, within {KIMG[0]:g} to {KIMG[1]:g}",
        ),
        Choice("fill", str(fill), f"imbalance ratio {imbalance_ratio(train):.1f}"),
        Choice(
            "arms", names, "all" if smote else f"no smote: the smallest class has {fewest} images"
        ),
        Choice("seeds", "3", "the fewest for a verdict; more seeds narrow its interval"),
    )
    return values, choices


def name_of(path: Path) -> str:
    """Name for runs and files, derived from the name of the folder or file."""
    resolved = path.resolve()
    stem = (
        resolved.name
        if resolved.is_dir()
        else re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", resolved.name)
    )
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem)[:64]
    return plain.strip("-.+_") or "pictures"


def _fill(train: dict[int, int], classes: tuple[str, ...]) -> Any:
    """`auto` (up to the largest class), or counts if the classes are balanced or `auto` exceeds MOST images in total."""
    if imbalance_ratio(train) < BALANCED:
        return min(max(1, min(train.values())), max(1, MOST // len(train)))
    counts = plan("auto", train, classes)
    if sum(counts.values()) <= MOST:
        return "auto"
    cap = max(1, MOST // len(counts))
    return {classes[c]: min(n, cap) for c, n in counts.items()}


def _between(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _generators(kimg: float, width: float, smote: bool) -> dict[str, Any]:
    acgan = {"kind": "acgan", "kimg": kimg, "width": width, "learning_rate": 6e-4, "dropout": 0.25}
    return {"acgan": acgan, **({"smote": {"kind": "smote"}} if smote else {})}


def _arms(fill: Any, smote: bool) -> list[dict[str, Any]]:
    mixed = {"fill": fill, "share": 0.3, "sampler": "balanced"}
    arms: list[dict[str, Any]] = [
        {"name": "real"},
        {"name": "weighted", "mix": {"weights": "balanced"}},
        {"name": "oversample", "mix": {"sampler": "balanced"}},
        {"name": "classic", "mix": {"sampler": "balanced", "transform": "light"}},
    ]
    if smote:
        arms.append({"name": "smote", "generator": "smote", "mix": {"fill": fill}})
    return [
        *arms,
        {"name": "acgan", "generator": "acgan", "mix": mixed},
        {"name": "acgan+classic", "generator": "acgan", "mix": {**mixed, "transform": "light"}},
    ]
