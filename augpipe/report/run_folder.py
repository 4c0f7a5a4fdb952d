"""Read back what a run has written to its out folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.csv_files import exact
from augpipe.core.errors import UserError, near_name
from augpipe.core.yaml_loader import read_yaml

NEEDED: Final = ("summary.json", "predictions.csv", "experiment.yaml")
COLUMNS: Final = ("arm", "seed", "id", "true", "predicted")
GROUP: Final = "group"  # column of predictions.csv, if images are grouped


@dataclass(frozen=True)
class RunFolder:
    """What a run left. settings: dotted key → value, arms and generators by name. right: arm → bool (seeds, test
    images).

    The test images are in the order of `ids`, with their classes in `true`; groups is None if they have none. seeds: of
    the explore stage, in the order of the rows of `right`.
    """

    folder: Path
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    ids: NDArray[np.object_]
    true: NDArray[np.object_]
    groups: NDArray[np.object_] | None
    right: Mapping[str, NDArray[np.bool_]]


def read_run(folder: Path) -> RunFolder:
    """The files of a run's out folder; UserError if it is none, or of a version that wrote less."""
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}{near_name(folder)}")
    for name in NEEDED:
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not the out folder of a run: it has no {name}")
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        seeds = tuple(int(seed) for seed in summary["seeds"])
        rows = _predictions(folder / "predictions.csv", seeds)
        groups = summary["data"]["intake"]["groups"]
        text = (folder / "experiment.yaml").read_text(encoding="utf-8")
        settings = dict(_flat(read_yaml(text, str(folder / "experiment.yaml"))))
        by_arm = {str(arm): part for arm, part in rows.groupby("arm", sort=False)}
        first = next(iter(by_arm.values()))
        first = first[first.seed == seeds[0]].sort_values("id")
        right = {arm: _right(part, seeds) for arm, part in by_arm.items()}
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"the files of the run {folder} cannot be read: {reason}") from None
    if groups and GROUP not in first:
        raise UserError(
            f"{folder} is of a version that did not record the groups of test images, which intervals need; repeat "
            "the run (it reuses its results)"
        )
    return RunFolder(
        folder,
        summary,
        settings,
        seeds,
        first["id"].to_numpy(object),
        first["true"].to_numpy(object),
        first[GROUP].to_numpy(object) if GROUP in first else None,
        right,
    )


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of each setting; entries of a list of mappings, as the arms, go by their names."""
    if isinstance(values, list) and values and all(isinstance(v, dict) and "name" in v for v in values):
        values = {value["name"]: value for value in values}
    if not isinstance(values, dict) or not values:
        yield prefix, values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _predictions(path: Path, seeds: tuple[int, ...]) -> pd.DataFrame:
    """The rows of test of the explore stage."""
    wanted = {*COLUMNS, "split", GROUP}
    texts = dict.fromkeys(wanted - {"seed"}, str)
    table = pd.read_csv(path, usecols=lambda name: name in wanted, dtype=texts, keep_default_na=False)
    table = table[(table["split"] == "test") & table.seed.isin(seeds)].drop(columns="split")
    for name in set(table.columns) - {"seed"}:
        table[name] = table[name].map(exact)
    return table


def _right(rows: pd.DataFrame, seeds: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether each test image, by id, was classified correctly, (seeds, N)."""
    rows = rows.assign(right=rows.predicted == rows["true"])
    table = rows.pivot(index="seed", columns="id", values="right").loc[list(seeds)]
    if table.isna().any(axis=None):
        raise ValueError("predictions.csv lacks test images of some seeds")
    values: NDArray[np.bool_] = table[sorted(table.columns)].to_numpy(bool)
    return values
