"""What the origin of the training images gives away of the class, for each arm and generator of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from augpipe.core.store import load_table
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Measured, Recipe
from augpipe.synthetic.shortcut import Shortcut, shortcut, shortcut_row

Key = tuple[str, int]


def arm_shortcuts(
    experiment: Experiment, measured: Mapping[Key, Measured], recipes: Mapping[Key, Recipe]
) -> dict[Key, Shortcut]:
    """Of each arm with synthetic images, by arm and seed.

    measured: by generator and seed. recipes: by arm and seed.
    """
    accuracy = {key: c2st_of(load_table(one.table)) for key, one in measured.items()}
    shortcuts = {}
    for arm, seed, recipe in _with_synthetic(experiment, recipes):
        # Of several generators, as a mean over the images that each of them drew.
        parts = [(accuracy[name, seed], recipe.made_by.get(name, 0)) for name in arm.generators]
        values, weights = zip(*(part for part in parts if part[1]), strict=True)
        c2st = float(np.average(values, weights=weights))
        shortcuts[arm.name, seed] = shortcut(recipe.class_probability, recipe.class_share, c2st)
    return shortcuts


def _with_synthetic(experiment: Experiment, recipes: Mapping[Key, Recipe]) -> Iterator[tuple[Arm, int, Recipe]]:
    for arm in experiment.arms:
        for seed in experiment.seeds:
            recipe = recipes.get((arm.name, seed))
            if recipe is not None and any(recipe.made_by.get(name, 0) for name in arm.generators):
                yield arm, seed, recipe


def c2st_of(table: pd.DataFrame) -> float:
    """The accuracy `c2st` over all images of a table of `fidelity.COLUMNS`; NaN without one."""
    values = table[(table.metric == "c2st") & (table["class"] == "")].value
    return float(values.iloc[0]) if len(values) else float("nan")


def worst_row(experiment: Experiment, name: str, seed: int, shortcuts: Mapping[Key, Shortcut]) -> pd.DataFrame:
    """The row of a generator in its fidelity table: the largest figure of the arms that show its images."""
    of = [
        shortcuts[arm.name, seed] for arm in experiment.arms if name in arm.generators and (arm.name, seed) in shortcuts
    ]
    return shortcut_row(max(of, key=lambda one: one.bits) if of else None)


def mean_shortcut(shortcuts: Sequence[Shortcut]) -> dict[str, float | None] | None:
    """For `summary.json`: means over seeds, a value None if c2st was not measured; None without synthetic images."""
    if not shortcuts:
        return None
    means = {
        "detected": float(np.mean([one.detected for one in shortcuts])),
        "information": float(np.mean([one.information for one in shortcuts])),
        "bits": float(np.mean([one.bits for one in shortcuts])),
    }
    return {name: value if np.isfinite(value) else None for name, value in means.items()}
