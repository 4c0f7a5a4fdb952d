"""Results of a run in this process: as a table, a verdict, a page of a notebook, files, and data sets of the arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from html import escape
from pathlib import Path

import pandas as pd

from augpipe.classifiers.arm_dataset import ArmDataset
from augpipe.comparison.bootstrap import Gain
from augpipe.core.errors import unknown
from augpipe.core.store import load_images
from augpipe.pipeline.records import Recipe
from augpipe.pipeline.runs import Runs
from augpipe.report.results import Results
from augpipe.report.write import write

PERCENT = ("low", "high", "val", "gain", "gain_low", "gain_high", "shift")


@dataclass(frozen=True)
class ArmData:
    """One arm of a comparison; recipes: seed → its training data."""

    name: str
    recipes: Mapping[int, Recipe]

    def as_dataset(self, seed: int | None = None) -> ArmDataset:
        """The real and synthetic images that the arm's classifier of a seed was trained on, and how it draws them.

        seed: the first one by default. UserError for a seed that was not run.
        """
        seed = next(iter(self.recipes)) if seed is None else seed
        if seed not in self.recipes:
            raise unknown("seed", seed, self.recipes)
        recipe = self.recipes[seed]
        synthetic = None if recipe.synthetic is None else load_images(recipe.synthetic)
        return ArmDataset(load_images(recipe.real), synthetic, recipe.mix, seed)


@dataclass(frozen=True)
class RunResults(Results):
    """Results of `compare` and `run`; a notebook shows the verdict, a figure and the table.

    Besides the data that the report is written from (`scores`, `comparison`, `quality` and others): recipes, (arm,
    seed) → training data.
    """

    recipes: Mapping[tuple[str, int], Recipe] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Results, runs: Runs) -> RunResults:
        """Results with the training data of their runs."""
        recipes = {key: run.recipe for key, run in runs.arms.items() if run.recipe is not None}
        values = {one.name: getattr(results, one.name) for one in fields(Results)}
        return cls(**values, recipes=recipes)

    @property
    def table(self) -> pd.DataFrame:
        """A row an arm: the experiment's metric on test with its 95% interval, on val, gain over the baseline, verdict.

        Columns `macro_recall` (or the name of another metric), `low, high, val, gain, gain_low, gain_high` are
        fractions, mean over seeds. The gain's interval holds for all arms together; `p` is corrected over the arms.
        `synthetic` is the number of synthetic training images. The baseline has no gain. `shift`, if there is a second
        test set, is the metric there.
        """
        rows = {result.arm.name: self._row(result.arm.name) for result in self.arms}
        table = pd.DataFrame.from_dict(rows, orient="index")
        table.insert(4, "synthetic", [sum(r.recipe.synthetic_count) for r in self.arms])
        return table.rename_axis("arm")

    def _row(self, name: str) -> dict[str, float | str | None]:
        level, gain = self.comparison.levels[name], self.comparison.over_baseline.get(name)
        return {
            self.experiment.metric: level.mean,
            "low": level.low,
            "high": level.high,
            "val": self.level(name, "val"),
            **_gain(gain),
            **({} if self.shift is None else {"shift": self.shift.comparison.levels[name].mean}),
        }

    @property
    def best(self) -> ArmData:
        """The arm with the highest metric on val; test selects nothing."""
        return self.arm(str(self.table["val"].idxmax()))

    def arm(self, name: str) -> ArmData:
        """An arm by its name; UserError lists the arms."""
        recipes = {seed: recipe for (arm, seed), recipe in self.recipes.items() if arm == name}
        if not recipes:
            raise unknown("arm", name, [result.arm.name for result in self.arms])
        return ArmData(name, recipes)

    def report(self, out: str | Path) -> Path:
        """Write the files of a run to the folder `out` and return its report.html.

        out: a new folder, or that of an earlier run, which is replaced; UserError for another one.
        """
        write(self, Path(out))
        return Path(out) / "report.html"

    def _repr_html_(self) -> str:
        from augpipe.report.figures import gain_dots  # imports matplotlib

        gains = self.comparison.over_baseline
        generative = {result.arm.name: result.generative for result in self.arms}
        parts = [f"<p>{escape(self.verdict)}</p>"]
        if gains:
            figure = gain_dots(
                list(gains.values()), [generative[a] for a in gains], self.comparison.baseline, self.comparison.metric
            )
            parts.append(f'<img alt="gain of each arm over the baseline" src="{figure}">')
        percent = dict.fromkeys((self.experiment.metric, *PERCENT), "{:.1%}".format)
        return "".join([*parts, self.table.to_html(formatters=percent, na_rep="–")])


def _gain(gain: Gain | None) -> dict[str, float | str | None]:
    if gain is None:
        return {"gain": None, "gain_low": None, "gain_high": None, "p": None, "verdict": ""}
    interval = gain.shown
    return {
        "gain": interval.mean,
        "gain_low": interval.low,
        "gain_high": interval.high,
        "p": gain.shown_p,
        "verdict": gain.verdict,
    }
