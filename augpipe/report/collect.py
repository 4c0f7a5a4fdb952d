"""Load the stored results of a comparison's runs, and compare its arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison.explore import Comparison
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.units import Units
from augpipe.core import device as runtime
from augpipe.core.images import ImageSet
from augpipe.core.store import load_images, load_table
from augpipe.data.split_check import NAMES
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.confirm import Confirmed, NotConfirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import absent_classes, metric_values, output
from augpipe.pipeline.records import IntakeRecord, Recipe, Scored, TrainedGenerator
from augpipe.pipeline.runs import ArmRun, Runs, training_seconds
from augpipe.report.attributes import Attributes, attributes_of, compared
from augpipe.report.comparisons import compared_arms, every_pair_of
from augpipe.report.predictions import stored_predictions
from augpipe.report.quality import Quality, quality
from augpipe.report.results import ArmResult, GeneratorResult, MeanRecipe, Results
from augpipe.report.saved_models import saved_models, with_winner
from augpipe.report.secondary import secondary
from augpipe.report.shift import shift_confirmed, shift_of


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
    seeds, failed = experiment.seeds, failed or {}
    prepared = runs.prepared[seeds[0]]
    splits = {name: load_images(getattr(prepared.splits, name)) for name in NAMES}
    scores = _scores(experiment, runs)
    arms = tuple(_arm_result(experiment, runs, arm) for arm in experiment.arms)
    units, outputs = _units(runs, seeds), _outputs(experiment, runs)
    labels, k = [unit.labels for unit in units], len(splits["test"].classes)
    absent = absent_classes(prepared.counts["val"], prepared.classes)
    val = metric_values(scores, experiment.metric, "val", absent)
    comparison = compared_arms(experiment, runs, outputs, units, val, arms)
    shift = shift_of(experiment, runs, lambda of, on: compared_arms(experiment, runs, of, [on] * len(seeds), val, arms))
    return Results(
        experiment=experiment,
        requested=requested or experiment,
        failed=failed,
        splits=splits,
        fingerprint=prepared.fingerprint,
        intake=_intake(runs, seeds),
        quarantine=load_table(prepared.quarantine),
        arms=arms,
        generators=tuple(_generator(experiment, runs, name) for name in _names(experiment, runs)),
        scores=scores,
        quality=_quality(experiment, runs),
        comparison=_with_failures(comparison, failed),
        pairs=every_pair_of(experiment, runs, outputs, units),
        predictions=stored_predictions(experiment, runs, seeds),
        models=saved_models(experiment, runs, val),
        confusions={arm: confusion([_classes(one) for one in of], labels, k) for arm, of in outputs.items()},
        seconds=seconds,
        training_seconds=training_seconds(runs, seeds),
        machine=_machine(experiment, threads),
        attributes=_attributes(runs, comparison, seeds),
        shift=shift,
    )


def _attributes(runs: Runs, comparison: Comparison, seeds: Sequence[int]) -> Attributes | None:
    """Scores of groups of test images by attribute, of the two arms that val chose; None without attributes."""
    attributes = attributes_of(runs)
    if attributes is None:
        return None
    pair = Finalists(comparison.best, comparison.strongest)
    return compared(attributes, runs, pair, {seed: [seed] for seed in seeds})


def with_confirmed(results: Results, confirmed: Confirmed | NotConfirmed, seconds: float) -> Results:
    """The results with those of the confirm stage; seconds: of both stages."""
    if isinstance(confirmed, NotConfirmed):
        return replace(results, confirmed=confirmed, seconds=seconds)
    known = {(one.arm, one.seed) for one in results.predictions}
    seeds = [seed for of in confirmed.classifiers.values() for seed in of]
    fresh = {seed for seed in seeds if seed not in results.experiment.seeds}
    more = stored_predictions(confirmed.experiment, confirmed.runs, seeds)
    return replace(
        results,
        confirmed=confirmed,
        attributes=None
        if results.attributes is None
        else compared(results.attributes, confirmed.runs, confirmed.finalists, confirmed.classifiers),
        secondary=secondary(confirmed),
        shift=None if results.shift is None else shift_confirmed(results.shift, confirmed),
        predictions=(*results.predictions, *(p for p in more if (p.arm, p.seed) not in known)),
        models=with_winner(results.models, confirmed),
        seconds=seconds,
        training_seconds=results.training_seconds + training_seconds(confirmed.runs, fresh),
    )


def _intake(runs: Runs, seeds: Sequence[int]) -> IntakeRecord:
    """The intake of the first seed, with the most near copies of any seed: each may have a split of its own."""
    records = [runs.prepared[seed].intake for seed in seeds]
    return records[0].model_copy(update={"near_copies": max(r.near_copies for r in records)})


def _units(runs: Runs, seeds: Sequence[int]) -> list[Units]:
    """Labels and groups of the test images of each seed."""
    tests = [load_images(runs.prepared[seed].splits.test) for seed in seeds]
    return [Units(np.array(test.labels), test.table.group.to_numpy()) for test in tests]


def _scored(experiment: Experiment, runs: Runs) -> Iterator[tuple[str, int, Scored]]:
    """Arm, seed and scores of each classifier, in the experiment's order."""
    for arm in experiment.arms:
        for seed in experiment.seeds:
            scored = runs.arms[arm.name, seed].scored
            if scored is None:
                raise RuntimeError(f"arm {arm.name!r} ended without scores")
            yield arm.name, seed, scored


def _scores(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """The scores of all arms and seeds: arm, seed, split, metric, class, value."""
    tables = []
    for arm, seed, scored in _scored(experiment, runs):
        table = load_table(scored.table)
        table.insert(0, "seed", seed)
        table.insert(0, "arm", arm)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _outputs(experiment: Experiment, runs: Runs) -> dict[str, list[Outputs]]:
    """What the metric needs of each test image, of each seed, by arm: see `outputs.output`."""
    outputs: dict[str, list[Outputs]] = {arm.name: [] for arm in experiment.arms}
    for arm, _, scored in _scored(experiment, runs):
        outputs[arm].append(output(scored.probabilities, experiment.metric))
    return outputs


def _names(experiment: Experiment, runs: Runs) -> list[str]:
    """Generators that were trained, in the experiment's order."""
    return [name for name in experiment.generators if (name, experiment.seeds[0]) in runs.generators]


def _quality(experiment: Experiment, runs: Runs) -> Quality:
    measured = {key: run.measured for key, run in runs.generators.items() if run.measured}
    recipes = {key: run.recipe for key, run in runs.arms.items() if run.recipe}
    return quality(experiment, _names(experiment, runs), measured, recipes)


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
    """Time of an arm's classifier with that whose head it replaced, search, synthesis and generators."""
    parts = [run.base, run.classifier, run.synthetic, run.chosen]
    generators = [runs.generators[name, run.seed].trained for name in run.arm.generators]
    return sum(part.time.seconds for part in (*parts, *generators) if part is not None)


def _shows_trained(experiment: Experiment, arm: Arm, recipe: Recipe) -> bool:
    """Whether any image of a trained generator was used: the checks may have rejected all."""
    used = recipe.synthetic_share > 0 or arm.mix.beside is not None
    return used and any(
        recipe.made_by.get(name, 0) and experiment.generators[name].generative for name in arm.generators
    )


def _with_failures(comparison: Comparison, failed: Mapping[str, str]) -> Comparison:
    """The comparison, with the failed arms in its sentence."""
    if not failed:
        return comparison
    failures = ", ".join(repr(name) for name in failed)
    sentence = f"{comparison.sentence} Failed and not compared: {failures}."
    return replace(comparison, sentence=sentence)


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


def _classes(of: Outputs) -> NDArray[np.int64]:
    """Predicted classes (N,) of predicted classes or probabilities (N,K)."""
    classes: NDArray[np.int64] = of.argmax(1) if of.ndim == 2 else of
    return classes


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


def _generator(experiment: Experiment, runs: Runs, name: str) -> GeneratorResult:
    trained = [runs.generators[name, seed].trained for seed in experiment.seeds]
    checked, quiz = _quiz_images(experiment, runs, name)
    return GeneratorResult(
        name,
        experiment.generators[name].kind,
        _samples(trained[0], runs.prepared[experiment.seeds[0]].classes),
        tuple(run.best_kimg for run in trained),
        tuple(run.stopped for run in trained),
        float(np.mean([run.time.seconds for run in trained])),
        quiz,
        checked,
    )


def _samples(trained: TrainedGenerator, classes: Sequence[str]) -> ImageSet:
    """A generator's samples, with those of a generator of cells in their classes."""
    samples = load_images(trained.samples)
    if not trained.class_of:
        return samples
    return ImageSet(samples.images, np.array(trained.class_of)[samples.labels], classes, samples.table)


def _quiz_images(experiment: Experiment, runs: Runs, name: str) -> tuple[bool, ImageSet]:
    """Whether they were checked, and the first seed's images of a generator:
    of the arm with the most, checked ones first.
    """
    seed = experiment.seeds[0]
    drawn = []
    for arm in experiment.arms:
        run = runs.arms[arm.name, seed]
        if name in arm.generators and run.synthetic is not None:
            drawn_by = run.by_generator[arm.generators.index(name)] if run.by_generator else run.synthetic
            drawn.append((experiment.curates(arm, name), load_images(drawn_by.images)))
    some = [one for one in drawn if len(one[1])]
    if not some:
        classes = runs.prepared[seed].classes
        return False, _samples(runs.generators[name, seed].trained, classes)
    return max(some, key=lambda one: (one[0], len(one[1])))


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
