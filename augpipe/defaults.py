"""An experiment for somebody's folder, chosen from what is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augpipe.config import Experiment, build
from augpipe.counts import imbalance_ratio
from augpipe.images import ImageOptions
from augpipe.sources.folder import Config, Survey, survey

EPOCHS = 30  # of train, for a classifier, within STEPS
STEPS = (300, 3000)
KIMG = (40.0, 200.0)
PASSES = 60  # of train, for a generator, within KIMG
BALANCED = 1.5  # imbalance ratio below which filling up to the largest class makes next to nothing


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why."""

    what: str
    why: str


def for_folder(
    path: Path, overrides: tuple[str, ...] = ()
) -> tuple[Experiment, tuple[Choice, ...]]:
    """Sizes, steps and arms chosen from the folder's pictures; UserError where it has none."""
    found = survey(Config(kind="folder", path=path), ImageOptions())
    values, told = _suggest(found, path)
    return build(values, overrides, where=f"the folder {path}"), told


def _suggest(found: Survey, path: Path) -> tuple[dict[str, Any], tuple[Choice, ...]]:
    n_train = round(0.6 * sum(found.counts.values()))
    fewest = min(found.counts.values())
    ratio = imbalance_ratio(dict(enumerate(found.counts.values())))
    size = found.spec.size
    steps = _between(round(EPOCHS * n_train / 64), *STEPS)
    kimg = _between(PASSES * n_train / 1000, *KIMG)
    width = 0.25 if size <= 16 else 0.5
    fill: str | int = "auto" if ratio >= BALANCED else max(1, round(0.6 * fewest))
    # SMOTE draws between two images of a class; train keeps 0.6 of each class, one at the least.
    smote = fewest >= 5
    values: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_.+-]+", "-", path.resolve().name).strip("-.+_") or "folder",
        "source": {"kind": "folder", "path": str(path)},
        "image": {"size": size, "channels": found.spec.channels},
        "split": {"val": 0.2, "test": 0.2},
        "generators": _generators(kimg, width, smote),
        "classifier": {"width": 0.5 if size <= 32 else 1.0, "steps": steps},
        "arms": _arms(fill, smote),
        "baseline": "real",
        "seeds": 3,
    }
    told = (
        Choice(f"image {found.spec.channels}x{size}x{size}", f"from the pictures: {found.about}"),
        Choice(f"classifier steps {steps}", f"{EPOCHS} passes of about {n_train} training images"),
        Choice(f"generator {kimg:g} kimg", f"{PASSES} passes, within {KIMG[0]:g} to {KIMG[1]:g}"),
        Choice(f"fill {fill}", f"imbalance ratio {ratio:.1f}"),
        Choice(
            "arms " + ", ".join(arm["name"] for arm in values["arms"]),
            "all" if smote else f"no smote: the smallest class has {fewest} images",
        ),
    )
    return values, told


def _between(value: Any, low: Any, high: Any) -> Any:
    return max(low, min(high, value))


def _generators(kimg: float, width: float, smote: bool) -> dict[str, Any]:
    acgan = {"kind": "acgan", "kimg": kimg, "width": width, "learning_rate": 6e-4, "dropout": 0.25}
    return {"acgan": acgan, **({"smote": {"kind": "smote"}} if smote else {})}


def _arms(fill: str | int, smote: bool) -> list[dict[str, Any]]:
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
