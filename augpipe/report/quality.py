"""Collect fidelity, memorisation, curation and gates of a run's generators over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from augpipe.core.images import ImageSet
from augpipe.core.store import load_images, load_table
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Measured, Recipe
from augpipe.report.shortcuts import arm_shortcuts, mean_shortcut, worst_row
from augpipe.synthetic import gates
from augpipe.synthetic.fidelity import COLUMNS
from augpipe.synthetic.gates import Outcome

Key = tuple[str, int]
CURATED = ("generator", "class", "check", "seen", "passed")


@dataclass(frozen=True)
class Quality:
    """Quality of each generator's images.

    fidelity: columns generator and `fidelity.COLUMNS`, means over seeds, including the fractions that passed the
    checks. curation: columns CURATED. galleries: first seed, triples (synthetic, nearest train, nearest held-out image)
    by generator. gates: by generator. shortcuts: by arm with synthetic images, means over seeds.
    """

    fidelity: pd.DataFrame
    curation: pd.DataFrame
    galleries: Mapping[str, ImageSet]
    gates: Mapping[str, tuple[Outcome, ...]]
    shortcuts: Mapping[str, Mapping[str, float | None]]


def quality(
    experiment: Experiment, names: Sequence[str], measured: Mapping[Key, Measured], recipes: Mapping[Key, Recipe]
) -> Quality:
    """Combine the measurements of all seeds; recipes: mix of each arm and seed, with the counts of the checks."""
    curation = _curation(experiment, recipes)
    shortcuts = arm_shortcuts(experiment, measured, recipes)
    by_seed = {
        name: [
            pd.concat([load_table(measured[name, s].table), worst_row(experiment, name, s, shortcuts)])
            for s in experiment.seeds
        ]
        for name in names
    }
    tables = {name: _mean(of) for name, of in by_seed.items()}
    parts = [
        pd.concat([table, kept_rows(curation[curation.generator == name])]).assign(generator=name)
        for name, table in tables.items()
    ]
    columns = ["generator", *COLUMNS]
    fidelity = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return Quality(
        fidelity=fidelity,
        curation=curation,
        galleries={n: load_images(measured[n, experiment.seeds[0]].gallery) for n in names},
        gates={name: tuple(_outcome(gate, by_seed[name]) for gate in experiment.gate) for name in names},
        shortcuts={
            arm.name: mean
            for arm in experiment.arms
            if (mean := mean_shortcut([one for (name, _), one in shortcuts.items() if name == arm.name]))
        },
    )


def _outcome(gate: str, tables: list[pd.DataFrame]) -> Outcome:
    """A gate holds if it holds for every seed: a mean of p-values is not a p-value."""
    outcomes = [gates.outcome(gate, table) for table in tables]
    broken = [outcome for outcome in outcomes if not outcome.holds]
    return broken[0] if broken else outcomes[0]


def _mean(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean over seeds of each metric, in the order of the metrics; NaN with a note if a seed has no value."""
    mean = tables[0].copy()
    mean["value"] = np.mean([pd.to_numeric(t["value"]).to_numpy() for t in tables], axis=0)
    notes = zip(*(t["note"] for t in tables), strict=True)
    mean["note"] = [next((note for note in seed_notes if note), "") for seed_notes in notes]
    return mean


def _curation(experiment: Experiment, recipes: Mapping[Key, Recipe]) -> pd.DataFrame:
    """Images seen and passed by each check, by generator and class, summed over plans and seeds."""
    # Arms with the same plan share their images, which were checked once.
    drawn = {
        (arm.generator, seed, recipes[arm.name, seed].drawn): recipes[arm.name, seed]
        for arm in experiment.arms
        for seed in experiment.seeds
    }
    rows = [tuple(line[column] for column in CURATED) for recipe in drawn.values() for line in recipe.funnel]
    table = pd.DataFrame(rows, columns=list(CURATED))
    by = ["generator", "class", "check"]
    return table.groupby(by, sort=False, as_index=False)[["seen", "passed"]].sum()


def kept_rows(curation: pd.DataFrame) -> pd.DataFrame:
    """Pass rates as rows of a fidelity table: `kept.CHECK` of each check and `kept` of all, overall and by class."""
    if curation.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    first, last = curation.check.iloc[0], list(dict.fromkeys(curation.check))[-1]
    rows: list[tuple[str, str, float, int, int, str]] = []
    parts = [("", curation), *curation.groupby("class", sort=False)]
    for name, counts in parts:
        sums = counts.groupby("check", sort=False)[["seen", "passed"]].sum()
        rows += [
            (str(name), f"kept.{check}", _share(row.passed, row.seen), 0, int(row.seen), "")
            for check, row in sums.iterrows()
        ]
        drawn = int(sums.seen.get(first, 0))
        rows.append((str(name), "kept", _share(sums.passed.get(last, 0), drawn), 0, drawn, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _share(passed: float, seen: float) -> float:
    return float(passed / seen) if seen else float("nan")
