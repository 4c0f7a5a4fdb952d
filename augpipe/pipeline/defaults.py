"""An experiment for somebody's pictures, chosen from what they are."""

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
from augpipe.data.clean import without_small
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.intake import Survey, survey
from augpipe.data.options import SplitOptions
from augpipe.pipeline.experiment import Experiment, build, override

EPOCHS = 30  # of train, for a classifier, within STEPS
STEPS = (300, 3000)
PASSES = 60  # of train, for a generator, within KIMG
KIMG = (40.0, 200.0)
BALANCED = 1.5  # imbalance ratio below which filling up to the largest class makes next to nothing
MOST = 20_000  # synthetic images of all classes: more are never seen at the shares chosen here
# What says which pictures there are, and is needed before they are looked at.
_EARLY = tuple(
    f"{key}{end}" for key in ("source", "image", "split", "min_images") for end in (".", "=")
)
SMOTE_LEAST = 5  # images of a class: below, train may keep one, with no neighbour to lie between


@dataclass(frozen=True)
class Choice:
    """What was chosen for a key of the config, and why."""

    key: str
    value: str
    why: str


def for_source(path: Path, overrides: Sequence[str] = ()) -> tuple[Experiment, tuple[Choice, ...]]:
    """Sizes, steps and arms chosen from the pictures at a path; UserError where it has none.

    path: a folder, an archive, a table of files or an .npz. What `overrides` sets is taken into account,
    and not told as a choice.
    """
    given: dict[str, Any] = {"source": sources.suggest(path)}
    for one in overrides:
        if one.startswith(_EARLY):
            override(given, one)
    # Built by the parts' own models, so that a mistake is told before anything is looked at.
    part = {"name": "x", "arms": [{"name": "x"}], "baseline": "x", **given}
    asked = build(part, where=str(path))
    listed = without_small(sources.listing(asked.source), asked.min_images)
    require_classes(listed.classes)
    found = survey(listed, asked.image)
    values, told = _suggest(found, _train_counts(listed, asked.split), path, asked.split)
    values |= {key: {**values.get(key, {}), **own} if isinstance(own, dict) else own
               for key, own in given.items()}  # fmt: skip
    experiment = build(values, overrides, where=str(path))
    keys = [one.partition("=")[0] for one in overrides]
    return experiment, tuple(c for c in told if not any(_about(k, c.key) for k in keys))


def _about(override_key: str, key: str) -> bool:
    return (
        override_key == key
        or override_key.startswith(f"{key}.")
        or key.startswith(f"{override_key}.")
    )


def _train_counts(listed: sources.Listing, split: SplitOptions) -> dict[int, int]:
    """Images of each class that train will have, about."""
    if listed.splits is not None and split.kind in ("auto", "official"):
        own = listed.labels[listed.splits == "train"]
        counts = np.bincount(own, minlength=len(listed.classes))
        return {c: max(1, int(n)) for c, n in enumerate(counts)}
    kept = 1 - split.val - split.test
    return {c: max(1, round(kept * n)) for c, n in enumerate(listed.counts().values())}


def _suggest(
    found: Survey, train: dict[int, int], path: Path, split: SplitOptions
) -> tuple[dict[str, Any], tuple[Choice, ...]]:
    n_train, fewest = sum(train.values()), min(found.counts.values())
    size = found.spec.size
    steps = int(_between(round(EPOCHS * n_train / 64), *STEPS))
    kimg = _between(PASSES * n_train / 1000, *KIMG)
    fill = _fill(train, tuple(found.counts))
    smote = fewest >= SMOTE_LEAST
    values: dict[str, Any] = {
        "name": name_of(path),
        "image": {"size": size, "channels": found.spec.channels},
        "split": split.model_dump(),
        "generators": _generators(kimg, 0.25 if size <= 16 else 0.5, smote),
        "classifier": {"width": 0.5 if size <= 32 else 1.0, "steps": steps},
        "arms": _arms(fill, smote),
        "baseline": "real",
        "seeds": 3,
    }
    names = ", ".join(arm["name"] for arm in values["arms"])
    told = (
        Choice("image.size", str(size), found.about),
        Choice("image.channels", str(found.spec.channels), found.about),
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
        Choice("seeds", "3", "the fewest that a verdict stands on; more narrow its interval"),
    )
    return values, told


def name_of(path: Path) -> str:
    """A name for runs and files out of the folder's or file's."""
    whole = path.resolve()
    stem = whole.name if whole.is_dir() else re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", whole.name)
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem)[:64]
    return plain.strip("-.+_") or "pictures"


def _fill(train: dict[int, int], classes: tuple[str, ...]) -> Any:
    """Up to the largest class; a count for classes that are even; at most MOST images in all."""
    if imbalance_ratio(train) < BALANCED:
        return min(max(1, min(train.values())), max(1, MOST // len(train)))
    made = plan("auto", train, classes)
    if sum(made.values()) <= MOST:
        return "auto"
    cap = max(1, MOST // len(made))
    return {classes[c]: min(n, cap) for c, n in made.items()}


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
