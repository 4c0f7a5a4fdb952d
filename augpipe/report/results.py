"""The results of a comparison: tables, and the summary as JSON values."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import LEVEL, Gain, Interval
from augpipe.comparison.explore import Comparison
from augpipe.comparison.finalists import Finalists
from augpipe.core.images import ImageSet
from augpipe.core.machine import installed
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.split_check import NAMES
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.confirm import OFF, Confirmed, NotConfirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import absent_classes, metric_values
from augpipe.pipeline.records import IntakeRecord
from augpipe.report.answer import summary_of, unequal_knowledge, verdict
from augpipe.report.attributes import Attributes
from augpipe.report.predictions import Predicted
from augpipe.report.quality import Quality
from augpipe.report.saved_models import SavedModel
from augpipe.report.secondary import Secondary
from augpipe.report.shift import Shift

VERSIONED = (
    "albumentations",
    "imbalanced-learn",
    "mlflow",
    "numpy",
    "prefect",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
)


@dataclass(frozen=True)
class MeanRecipe:
    """Counts and fractions of an arm, mean over seeds; seeds differ if checks reject images."""

    real_count: list[float]  # by label
    synthetic_count: list[float]
    class_share: list[float]
    synthetic_share: float
    synthetic_ratio: float


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
    """One generator over all seeds; samples and quiz are the first seed's.

    quiz: the images of an arm, those that passed the run's checks (checked) where any were checked; the samples if no
    arm has any.
    """

    name: str
    kind: str
    samples: ImageSet
    best_kimg: tuple[float, ...]
    stopped: tuple[str, ...]
    seconds: float
    quiz: ImageSet
    checked: bool


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
    pairs: pd.DataFrame  # every arm against every other, see `pairs.every_pair`; empty with `resplit`
    predictions: tuple[Predicted, ...]
    models: tuple[SavedModel, ...]
    confusions: Mapping[str, NDArray[np.float64]]  # arm → (K,K), see `collect.confusion`
    seconds: float  # of this command
    training_seconds: float  # as measured when the nets were trained, which an earlier run may have done
    machine: Mapping[str, Any]  # see `collect`
    confirmed: Confirmed | NotConfirmed = NotConfirmed(OFF, {})  # noqa: RUF009 (frozen)
    secondary: tuple[Secondary, ...] = ()  # of the confirm stage
    attributes: Attributes | None = None  # of the stage that the answer is of
    shift: Shift | None = None  # the second test set

    @property
    def verdict(self) -> str:
        """Whether synthetic images help: the confirm stage's answer, or the first look's."""
        sentence = verdict(self.comparison, self.confirmed, self.failed)
        return " ".join([sentence, *unequal_knowledge(self.experiment, self.comparison)])

    @property
    def finalists(self) -> Finalists:
        """The arms that val chose for the confirm stage."""
        return Finalists(self.comparison.best, self.comparison.strongest)

    def generative(self) -> dict[str, bool]:
        """Whether each arm was trained with images of a trained generator."""
        return {result.arm.name: result.generative for result in self.arms}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.splits["train"].classes

    def mean(self, arm: str, metric: str, name: str = "") -> float:
        """Mean over seeds of one metric value on test."""
        scores = self.scores
        rows = (scores.arm == arm) & (scores.split == "test") & (scores.metric == metric) & (scores["class"] == name)
        return float(scores.value[rows].mean())

    def by_seed(self, arm: str, split: str = "test") -> dict[int, float]:
        """The comparison's metric of each of an arm's seeds."""
        rows, metric = self.scores[self.scores.arm == arm], self.experiment.metric
        absent = absent_classes(self.splits[split].counts(), self.classes)
        values = metric_values(rows, metric, split, absent)
        return dict(zip(values.seed.tolist(), values.value.tolist(), strict=True))

    def level(self, arm: str, split: str = "test") -> float:
        """Mean over seeds of the comparison's metric."""
        return float(np.mean(list(self.by_seed(arm, split).values())))

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
            "verdict": self.verdict,
            **summary_of(self.confirmed, comparison, self.secondary),
            "note": self.experiment.note,
            "metric": self.experiment.metric,
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
                    "best_kimg": dict(zip(map(str, self.experiment.seeds), g.best_kimg, strict=True)),
                    "stopped": sorted(set(g.stopped)),
                    "seconds": round(g.seconds, 2),
                    "gates": {
                        outcome.gate: {"holds": outcome.holds, "detail": outcome.detail}
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
            "attributes": [one.summary() for one in self.attributes.groups] if self.attributes else [],
            **({} if self.shift is None else {"shift": self.shift.summary(self.classes)}),
            "versions": versions(),
            "machine": self.machine,
            "seconds": round(self.seconds, 2),
            "training_seconds": round(self.training_seconds, 2),
        }

    def _named(self, counts: Mapping[int, float]) -> dict[str, float]:
        return {self.classes[c]: n for c, n in counts.items()}

    def _arm(self, result: ArmResult) -> dict[str, Any]:
        name, comparison = result.arm.name, self.comparison
        seeds = self.experiment.seeds
        by_seed = self.by_seed(name)
        return {
            **_interval(comparison.levels[name]),
            "val": self.level(name, "val"),
            "by_seed": {str(seed): by_seed[seed] for seed in seeds},
            "gain": _gain(comparison.over_baseline.get(name)),
            "gain_over_strongest": _gain(comparison.over_strongest.get(name)),
            "generator": result.arm.made_by or None,
            "generative": result.generative,
            "knowledge": self.experiment.knowledge()[name],
            "real_counts": self._named(dict(enumerate(result.recipe.real_count))),
            "synthetic_counts": self._named(dict(enumerate(result.recipe.synthetic_count))),
            "share": result.recipe.synthetic_share,
            "shortcut": self.quality.shortcuts.get(name),
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
        "joint_low": None if gain.joint is None else gain.joint.low,
        "joint_high": None if gain.joint is None else gain.joint.high,
        "p": gain.p,
        "p_holm": gain.p_holm,
        "p_joint": _finite(gain.p_joint),
        "effect_size": _finite(gain.effect_size),
        "verdict": gain.verdict,
        "seeds_needed": gain.seeds_needed,
        "p_permutation": _finite(gain.p_permutation),
        "p_permutation_holm": _finite(gain.p_permutation_holm),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def versions() -> dict[str, str]:
    """Versions of augpipe, Python and the libraries that results depend on."""
    first = {"augpipe": version("augpipe"), "python": platform.python_version()}
    return first | installed(VERSIONED)
