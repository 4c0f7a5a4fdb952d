"""Collect the results of a comparison from the store into tables and a summary."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison import resampled
from augpipe.comparison.bootstrap import LEVEL, Gain, Interval
from augpipe.comparison.units import Units
from augpipe.comparison.verdict import Comparison, compare
from augpipe.core import device as runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import numpy_stream
from augpipe.core.store import Ref, load_images, load_state, load_table
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.split import NAMES
from augpipe.pipeline.compare import ArmRun, Runs
from augpipe.pipeline.experiment import Arm, Experiment
from augpipe.pipeline.records import IntakeRecord, Recipe
from augpipe.report.quality import Quality, quality

VERSIONED = (
    "albumentations", "imbalanced-learn", "mlflow", "numpy", "prefect", "scikit-learn", "scipy",
    "torch", "torchvision",
)  # fmt: skip


@dataclass(frozen=True)
class ArmResult:
    """One arm over all seeds."""

    arm: Arm
    generative: bool  # whether its classifiers were trained with images of a trained generator
    recipe: MeanRecipe
    short: dict[str, int]  # class → images missing from the plan, maximum over seeds
    # seed → fraction per class, part of the images and search steps, if selected on val
    chosen: dict[str, dict[str, Any]]
    best_step: dict[str, int]  # seed → classifier training steps, selected on val
    seconds: float  # mean over seeds: classifier, plus generator and synthesis if the arm has them


@dataclass(frozen=True)
class GeneratorResult:
    """One generator over all seeds; samples are the first seed's."""

    name: str
    kind: str
    samples: ImageSet
    best_kimg: tuple[float, ...]
    stopped: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Results:
    """All data that the report files of a run are written from."""

    experiment: Experiment  # with the arms that were compared
    requested: Experiment  # with the failed arms too
    failed: Mapping[str, str]  # arm → reason
    splits: Mapping[str, ImageSet]
    fingerprint: str
    intake: IntakeRecord
    quarantine: pd.DataFrame  # id, class, what, reason
    arms: tuple[ArmResult, ...]
    generators: tuple[GeneratorResult, ...]
    scores: pd.DataFrame  # arm, seed, split, metric, class, value
    quality: Quality
    comparison: Comparison
    confusions: Mapping[str, NDArray[np.float64]]  # arm → (K,K), see `confusion`
    seconds: float
    machine: Mapping[str, Any]  # see `_machine`

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.splits["train"].classes

    def mean(self, arm: str, metric: str, name: str = "", split: str = "test") -> float:
        """Mean over seeds of one metric value."""
        scores = self.scores
        rows = (
            (scores.arm == arm)
            & (scores.split == split)
            & (scores.metric == metric)
            & (scores["class"] == name)
        )
        return float(scores.value[rows].mean())

    def headline(self) -> dict[str, dict[str, float]]:
        """Each arm's gain over the baseline and its interval, for tracking."""
        return {
            arm: {"gain": g.interval.mean, "gain_low": g.interval.low, "gain_high": g.interval.high}
            for arm, g in self.comparison.over_baseline.items()
        }

    def summary(self) -> dict[str, Any]:
        """Contents of `summary.json`."""
        comparison = self.comparison
        return {
            "experiment": self.experiment.name,
            "verdict": comparison.sentence,
            "metric": "macro_recall",
            "level": LEVEL,
            "resplit": self.experiment.resplit,
            "baseline": comparison.baseline,
            "strongest_without_generator": comparison.strongest,
            "best_with_generator": comparison.best,
            "seeds": list(self.experiment.seeds),
            "arms": {result.arm.name: self._arm(result) for result in self.arms},
            "failed": dict(self.failed),
            "generators": {
                g.name: {
                    "kind": g.kind,
                    "best_kimg": dict(
                        zip(map(str, self.experiment.seeds), g.best_kimg, strict=True)
                    ),
                    "stopped": sorted(set(g.stopped)),
                    "seconds": round(g.seconds, 2),
                    "gates": {
                        outcome.gate: {"holds": outcome.holds, "told": outcome.detail}
                        for outcome in self.quality.gates[g.name]
                    },
                }
                for g in self.generators
            },
            "data": {
                "fingerprint": self.fingerprint,
                "intake": self.intake.model_dump(mode="json"),
                "classes": list(self.classes),
                "image": list(self.splits["train"].spec.shape),
                "counts": {name: self._named(self.splits[name].counts()) for name in NAMES},
                "imbalance_ratio": imbalance_ratio(self.splits["train"].counts()),
            },
            "versions": versions(),
            "machine": self.machine,
            "seconds": round(self.seconds, 2),
        }

    def _named(self, counts: Mapping[int, float]) -> dict[str, float]:
        return {self.classes[c]: n for c, n in counts.items()}

    def _arm(self, result: ArmResult) -> dict[str, Any]:
        name, comparison = result.arm.name, self.comparison
        seeds = self.experiment.seeds
        scores = self.scores
        rows = scores[
            (scores.arm == name) & (scores.split == "test") & (scores.metric == "macro_recall")
        ]
        by_seed = dict(zip(rows.seed, rows.value, strict=True))
        return {
            **_interval(comparison.levels[name]),
            "val": self.mean(name, "macro_recall", split="val"),
            "by_seed": {str(seed): float(by_seed[seed]) for seed in seeds},
            "gain": _gain(comparison.over_baseline.get(name)),
            "gain_over_strongest": _gain(comparison.over_strongest.get(name)),
            "generator": result.arm.made_by or None,
            "generative": result.generative,
            "real_counts": self._named(dict(enumerate(result.recipe.real_count))),
            "synthetic_counts": self._named(dict(enumerate(result.recipe.synthetic_count))),
            "share": result.recipe.synthetic_share,
            "short": result.short,
            "curated": self.experiment.curates(result.arm),
            "chosen": result.chosen,
            "best_step": result.best_step,
            "share_by_class": dict(zip(self.classes, result.recipe.class_share, strict=True)),
            "ratio": result.recipe.synthetic_ratio,
            "mix": result.arm.mix.model_dump(mode="json"),
            "seconds": round(result.seconds, 2),
        }


def _interval(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _gain(gain: Gain | None) -> dict[str, Any] | None:
    """A gain for JSON; None for an arm against itself."""
    if gain is None:
        return None
    return {
        **_interval(gain.interval),
        "reference": gain.reference,
        "p": gain.p,
        "p_holm": gain.p_holm,
        "effect_size": _finite(gain.effect_size),
        "verdict": gain.verdict,
        "seeds_needed": gain.seeds_needed,
        "p_permutation": _finite(gain.p_permutation),
        "p_permutation_holm": _finite(gain.p_permutation_holm),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _machine(experiment: Experiment, threads: int | None) -> dict[str, Any]:
    """Device, precision and thread count: besides the versions, the last digits depend on these.

    For a Dask cluster only the requested device and precision are known here.
    """
    runner = experiment.runner
    if runner.kind == "dask":
        return {"a Dask cluster, device": runner.device, "precision": runner.precision}
    device = runtime.pick_device(runner.device)
    precision = runtime.pick_precision(device, runner.precision)
    return {"device": device, "precision": precision, "threads of a worker": threads}


def versions() -> dict[str, str]:
    """Versions of augpipe, Python and the libraries that results depend on."""
    installed = {"augpipe": version("augpipe"), "python": platform.python_version()}
    for name in VERSIONED:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def collect(
    experiment: Experiment,
    runs: Runs,
    seconds: float,
    *,
    requested: Experiment | None = None,
    failed: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Results:
    """Load the stored results of the runs and compare the arms.

    requested: the experiment including the arms in `failed` (arm → reason); default: `experiment`. threads: per worker.
    """
    seeds = experiment.seeds
    prepared = runs.prepared[seeds[0]]
    splits = {name: load_images(getattr(prepared.splits, name)) for name in NAMES}
    tests = [load_images(runs.prepared[seed].splits.test) for seed in seeds]
    scored = {key: run.scored for key, run in runs.arms.items() if run.scored is not None}
    recipes = {key: run.recipe for key, run in runs.arms.items() if run.recipe is not None}
    units = [Units(np.array(test.labels), test.table.group.to_numpy()) for test in tests]
    labels = [unit.labels for unit in units]
    predictions = {
        arm.name: [_predictions(scored[arm.name, seed].probabilities) for seed in seeds]
        for arm in experiment.arms
    }
    k = len(splits["test"].classes)
    scores = _stack(
        [
            (arm.name, seed, scored[arm.name, seed].table)
            for arm in experiment.arms
            for seed in seeds
        ]
    )
    on_val = scores[(scores.split == "val") & (scores.metric == "macro_recall")]
    val = {str(name): float(rows.value.mean()) for name, rows in on_val.groupby("arm")}
    arms = tuple(_arm_result(experiment, runs, arm) for arm in experiment.arms)
    generative = {result.arm.name: result.generative for result in arms}
    comparison = _compared(experiment, predictions, units, len(splits["train"]), val, generative)
    if failed:
        failures = ", ".join(repr(name) for name in failed)
        comparison = replace(
            comparison, sentence=f"{comparison.sentence} Failed and not compared: {failures}."
        )
    names = [name for name in experiment.generators if (name, seeds[0]) in runs.generators]
    generators = tuple(_generator(experiment, runs, name) for name in names)
    measured = {k: run.measured for k, run in runs.generators.items() if run.measured is not None}
    return Results(
        experiment, requested or experiment, failed or {}, splits, prepared.fingerprint, prepared.intake, load_table(prepared.quarantine), arms, generators, scores,
        quality(experiment, names, measured, recipes), comparison,
        {arm: confusion(predicted, labels, k) for arm, predicted in predictions.items()}, seconds,
        _machine(experiment, threads),
    )  # fmt: skip


def _arm_result(experiment: Experiment, runs: Runs, arm: Arm) -> ArmResult:
    arm_runs = {seed: runs.arms[arm.name, seed] for seed in experiment.seeds}
    recipes = {seed: run.recipe for seed, run in arm_runs.items() if run.recipe is not None}
    return ArmResult(
        arm,
        any(_shows_trained(experiment, arm, recipe) for recipe in recipes.values()),
        mean_recipe(list(recipes.values())),
        _short(list(recipes.values())),
        {str(seed): dict(recipe.chosen) for seed, recipe in recipes.items() if recipe.chosen},
        {str(seed): run.classifier.best_step for seed, run in arm_runs.items() if run.classifier},
        float(np.mean([_seconds(runs, run) for run in arm_runs.values()])),
    )


def _seconds(runs: Runs, run: ArmRun) -> float:
    """Time of an arm's classifier, search, synthesis and generators."""
    parts = [run.classifier, run.synthetic, run.chosen]
    generators = [runs.generators[name, run.seed].trained for name in run.arm.generators]
    return sum(part.time.seconds for part in (*parts, *generators) if part is not None)


def _shows_trained(experiment: Experiment, arm: Arm, recipe: Recipe) -> bool:
    """Whether any image of a trained generator was used: the checks may have rejected all."""
    used = recipe.synthetic_share > 0 or arm.mix.beside is not None
    return used and any(
        recipe.made_by.get(name, 0) and experiment.generators[name].generative
        for name in arm.generators
    )


def _compared(
    experiment: Experiment,
    predictions: Mapping[str, Sequence[NDArray[np.int64]]],
    units: Sequence[Units],
    n_train: int,
    val: Mapping[str, float],
    generative: Mapping[str, bool],
) -> Comparison:
    """Bootstrap over seeds and test images for a fixed split; resampled t-test if each seed has its own split."""
    baseline = experiment.baseline
    if experiment.resplit:
        labels = [unit.labels for unit in units]
        values = resampled.estimates(predictions, labels)
        ratio = max(len(y) for y in labels) / n_train
        return resampled.compare(values, units, ratio, val, generative, baseline)
    correct = {
        arm: np.stack(predicted) == units[0].labels for arm, predicted in predictions.items()
    }
    rng = numpy_stream(experiment.split.seed, "bootstrap")
    return compare(correct, units[0], val, generative, baseline, rng)


@dataclass(frozen=True)
class MeanRecipe:
    """Counts and fractions of an arm, mean over seeds; seeds differ if checks reject images."""

    real_count: list[float]  # by label
    synthetic_count: list[float]
    class_share: list[float]
    synthetic_share: float
    synthetic_ratio: float


def mean_recipe(recipes: Sequence[Recipe]) -> MeanRecipe:
    """The mean over seeds; whole counts stay integers."""

    def mean(name: str) -> Any:
        return np.mean([getattr(recipe, name) for recipe in recipes], 0).tolist()

    def counts(name: str) -> list[float]:
        return [int(n) if n == int(n) else n for n in mean(name)]

    return MeanRecipe(
        counts("real_count"),
        counts("synthetic_count"),
        mean("class_share"),
        mean("synthetic_share"),
        mean("synthetic_ratio"),
    )


def _short(recipes: Sequence[Recipe]) -> dict[str, int]:
    missing: dict[str, int] = {}
    for recipe in recipes:
        for name, n in recipe.short.items():
            missing[name] = max(n, missing.get(name, 0))
    return missing


def _predictions(ref: Ref) -> NDArray[np.int64]:
    """Predicted class of each test image, (N,)."""
    predicted: NDArray[np.int64] = load_state(ref)["test"].numpy().argmax(1)
    return predicted


def confusion(
    predictions: Sequence[NDArray[np.int64]], labels: Sequence[NDArray[np.int64]], k: int
) -> NDArray[np.float64]:
    """Confusion matrix (K,K) over all seeds, rows normalised: fraction of a true class (row) predicted as each class.

    predictions, labels: one (N,) array a seed. Rows of classes without test images are 0.
    """
    counts = np.zeros((k, k))
    for predicted, y in zip(predictions, labels, strict=True):
        np.add.at(counts, (y, predicted), 1)
    fractions: NDArray[np.float64] = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return fractions


def _stack(parts: list[tuple[str, int, Ref]]) -> pd.DataFrame:
    tables = []
    for arm, seed, ref in parts:
        table = load_table(ref)
        table.insert(0, "seed", seed)
        table.insert(0, "arm", arm)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _generator(experiment: Experiment, runs: Runs, name: str) -> GeneratorResult:
    trained = [runs.generators[name, seed].trained for seed in experiment.seeds]
    return GeneratorResult(
        name,
        experiment.generators[name].kind,
        load_images(trained[0].samples),
        tuple(run.best_kimg for run in trained),
        tuple(run.stopped for run in trained),
        float(np.mean([run.time.seconds for run in trained])),
    )
