"""Models that a run leaves as single files: the best classifier on val, and each generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from augpipe.classifiers.calibration import temperature
from augpipe.core.store import load_images, load_state
from augpipe.pipeline import model_files
from augpipe.pipeline.compare import ArmRun, Runs
from augpipe.pipeline.experiment import Experiment


@dataclass(frozen=True)
class SavedModel:
    """One model of a run. name: arm or generator. chosen: why this seed (and arm). content: see `model_files`."""

    file: str
    kind: str
    name: str
    seed: int
    chosen: str
    content: Callable[[], dict[str, Any]]


def saved_models(
    experiment: Experiment, runs: Runs, scores: pd.DataFrame
) -> tuple[SavedModel, ...]:
    """The classifier with the best macro recall on val, and each generator at the seed with the lowest KID on val.

    An arm whose predictions need synthetic images beside the classifier (`mix.beside`) has no file.
    """
    plain = [arm.name for arm in experiment.arms if arm.mix.beside is None]
    on_val = scores[(scores.split == "val") & (scores.metric == "macro_recall")]
    models = [
        _generator(experiment, runs, name) for name in sorted({n for n, _ in runs.generators})
    ]
    means = on_val.groupby("arm").value.mean()
    if plain:
        arm = max(plain, key=lambda name: float(means[name]))
        rows = on_val[on_val.arm == arm]
        seed = int(rows.seed[rows.value.idxmax()])
        models.insert(0, _classifier(experiment, runs.arms[arm, seed], float(rows.value.max())))
    return tuple(models)


def _classifier(experiment: Experiment, run: ArmRun, best: float) -> SavedModel:
    def content() -> dict[str, Any]:
        if run.classifier is None or run.scored is None:
            raise ValueError(f"arm {run.arm.name!r} was not trained")
        prepared = run.prepared
        labels = load_images(prepared.splits.val).labels
        t = temperature(load_state(run.scored.probabilities)["val"].numpy(), labels)
        return model_files.classifier_file(
            run.classifier.state, prepared.classes, prepared.problem.spec, experiment.image, t
        )

    return SavedModel(
        "classifier.pt", model_files.CLASSIFIER, run.arm.name, run.seed,
        f"macro recall on val {100 * best:.1f}, the best", content,
    )  # fmt: skip


def _generator(experiment: Experiment, runs: Runs, name: str) -> SavedModel:
    seeds = [seed for other, seed in runs.generators if other == name]
    seed = min(seeds, key=lambda seed: runs.generators[name, seed].trained.best_metric)
    run = runs.generators[name, seed]

    def content() -> dict[str, Any]:
        derives = experiment.generators[name].derives
        reference = run.trained.learned if derives else None
        spec = run.prepared.problem.spec
        return model_files.generator_file(run.trained.checkpoint, reference, spec, experiment.image)

    why = f"KID on val {run.trained.best_metric:.3g}, the lowest of {len(seeds)}"
    return SavedModel(f"generator-{name}.pt", model_files.GENERATOR, name, seed, why, content)


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
