"""Models that a run leaves as single files: the best classifier on val, and each generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from augpipe.classifiers.calibration import temperature
from augpipe.comparison.options import LABELS
from augpipe.core.store import load_images, load_state
from augpipe.pipeline import model_files, model_places
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import metric_values
from augpipe.pipeline.runs import ArmRun, Runs


@dataclass(frozen=True)
class SavedModel:
    """One model of a run. name: arm or generator. chosen: why this seed (and arm). content: see `model_files`."""

    file: str
    kind: str
    name: str
    seed: int
    chosen: str
    content: Callable[[], dict[str, Any]]


def saved_models(experiment: Experiment, runs: Runs, val: pd.DataFrame) -> tuple[SavedModel, ...]:
    """The classifier with the best metric on val, and each generator at the seed with the lowest KID on val.

    val: `arm, seed, value` of the experiment's metric. An arm whose predictions need synthetic images beside the
    classifier (`mix.beside`) has no file.
    """
    plain = [arm.name for arm in experiment.arms if arm.mix.beside is None]
    models = [_generator(experiment, runs, name) for name in sorted({n for n, _ in runs.generators})]
    means = val.groupby("arm").value.mean()
    if plain:
        arm = max(plain, key=lambda name: float(means[name]))
        models.insert(0, _best_classifier(experiment, runs, val[val.arm == arm], "the best"))
    return tuple(models)


def with_winner(models: tuple[SavedModel, ...], confirmed: Confirmed) -> tuple[SavedModel, ...]:
    """The models, with the best classifier on val of the arm that the confirm stage decided for in place of another.

    Nothing changes if it is undecided, or if that arm has no file (see `saved_models`).
    """
    experiment = confirmed.experiment
    arm = next((one for one in experiment.arms if one.name == confirmed.winner), None)
    if arm is None or arm.mix.beside is not None:
        return models
    runs, scores = confirmed.runs, confirmed.scores
    val = metric_values(scores[scores.arm == arm.name], experiment.metric, "val")
    why = f"the best of the {len(val)} trainings of the arm that the confirm stage decided for"
    classifier = _best_classifier(experiment, runs, val, why)
    return (classifier, *(model for model in models if model.kind != model_places.CLASSIFIER))


def _best_classifier(experiment: Experiment, runs: Runs, val: pd.DataFrame, why: str) -> SavedModel:
    """That of the row of `arm, seed, value` with the highest value; why: after the value."""
    best = val.loc[val.value.idxmax()]
    chosen = f"{LABELS[experiment.metric]} on val {100 * best.value:.1f}, {why}"
    return _classifier(experiment, runs.arms[str(best.arm), int(best.seed)], chosen)


def _classifier(experiment: Experiment, run: ArmRun, chosen: str) -> SavedModel:
    def content() -> dict[str, Any]:
        if run.classifier is None or run.scored is None:
            raise ValueError(f"arm {run.arm.name!r} was not trained")
        prepared = run.prepared
        labels = load_images(prepared.splits.val).labels
        t = temperature(load_state(run.scored.probabilities)["val"].numpy(), labels)
        return model_files.classifier_file(
            run.classifier.state, prepared.classes, prepared.problem.spec, experiment.image, t
        )

    return SavedModel("classifier.pt", model_places.CLASSIFIER, run.arm.name, run.seed, chosen, content)


def _generator(experiment: Experiment, runs: Runs, name: str) -> SavedModel:
    seeds = [seed for other, seed in runs.generators if other == name]
    seed = min(seeds, key=lambda seed: runs.generators[name, seed].trained.best_metric)
    run = runs.generators[name, seed]

    def content() -> dict[str, Any]:
        options, spec = experiment.generators[name], run.prepared.problem.spec
        reference = run.trained.learned if options.draws_from_images else None
        return model_files.generator_file(
            run.trained.checkpoint, reference, spec, experiment.image, limited=options.external
        )

    why = f"KID on val {run.trained.best_metric:.3g}, the lowest of {len(seeds)}"
    return SavedModel(f"generator-{name}.pt", model_places.GENERATOR, name, seed, why, content)


def write_models(models: tuple[SavedModel, ...], folder: Path) -> dict[str, Mapping[str, Any]]:
    """Write each model; returns file → what it is, or why it was not written."""
    folder.mkdir()
    about: dict[str, Mapping[str, Any]] = {}
    for model in models:
        entry = {"kind": model.kind, "name": model.name, "seed": model.seed, "chosen": model.chosen}
        try:
            model_files.write(model.content(), folder / model.file)
        except model_files.NotWrittenError as error:
            entry["not_written"] = str(error)
        about[model.file] = entry
    return about
