"""The stages that train classifiers: the reference classifier, and one per arm and seed."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.train import Hooks, Resume, train
from augpipe.classifiers.trained import Evaluation, Trained
from augpipe.core import distributed, fingerprints, machine
from augpipe.core.checkpoint import Checkpoint
from augpipe.core.device import Runtime
from augpipe.core.images import Splits
from augpipe.core.refs import Ref
from augpipe.core.seeds import entropy
from augpipe.core.store import load_images, load_splits, load_state
from augpipe.pipeline.cache import content
from augpipe.pipeline.context import Context, Report, Timer, silent
from augpipe.pipeline.records import Prepared, Recipe, TrainedClassifier


class _Pace:
    """Reports a training's images per second, and the last macro recall on val."""

    def __init__(self, report: Report, batch: int) -> None:
        self._report, self._batch = report, batch
        # Time and number of the first step: a resumed training's is not 1.
        self._began: tuple[float, int] | None = None
        self._recall = ""

    def hooks(self) -> Hooks:
        return Hooks(self._on_evaluation, self._on_step)

    def _on_evaluation(self, evaluation: Evaluation) -> None:
        self._recall = f", val macro recall {evaluation.val_macro_recall:.3f}"
        self._report(self._recall.removeprefix(", "), evaluation.step)

    def _on_step(self, step: int) -> None:
        now = time.perf_counter()
        if self._began is None:
            self._began = now, step
            return
        began, first = self._began
        rate = (step - first) * self._batch / max(now - began, 1e-9)
        self._report(f"{rate:.0f} img/s{self._recall}", step)


def train_reference(
    context: Context, prepared: Prepared, options: ClassifierOptions, seed: int, *, report: Report = silent
) -> Ref:
    """The reference classifier: trained on real images alone; its features and classes check synthetic images."""
    store, runtime = context.store, context.runtime()
    splits = load_splits(prepared.splits)
    prepared.refuse_leaks(splits.train, "the reference classifier")
    resume = _resume(context, options, ["reference", seed, content(prepared.splits)])
    trained = fit_reference(
        splits,
        options,
        runtime,
        seed=entropy(seed, "domain"),
        hooks=_Pace(report, options.batch).hooks(),
        resume=resume,
    )
    return store.put_state("classifiers", trained_classifier.state_of(trained, options))


def fit_reference(
    splits: Splits,
    options: ClassifierOptions,
    runtime: Runtime,
    *,
    seed: int,
    hooks: Hooks = Hooks(),  # noqa: B008 (frozen)
    resume: Resume | None = None,
) -> Trained:
    """A classifier of class-balanced, lightly transformed train images, at its best evaluation on val."""
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(splits.train, None, mix, runtime, seed=seed)
    return train(mixture, splits.val, options, runtime, seed=seed, hooks=hooks, resume=resume)


def _resume(context: Context, options: ClassifierOptions, inputs: list[Any]) -> Resume | None:
    """Where an interrupted training of the same inputs goes on; None if the code was edited since it was imported."""
    try:
        code = fingerprints.fingerprint([__name__])
    except fingerprints.ChangedError:  # nothing says which code a resumed training would have run
        return None
    runtime = context.runtime()
    header = {
        "inputs": inputs,
        "options": options.model_dump(mode="json"),
        "with": machine.environment(runtime.device.type, runtime.precision, context.threads, distributed.size()),
        "code": code,
    }
    path = context.store.root / "training" / f"classifier-{entropy(0, repr(header)):016x}.pt"
    checkpoint = Checkpoint(path, header, disposable=True)
    if context.fresh:
        checkpoint.remove()
    return Resume(checkpoint)


def train_classifier(
    context: Context,
    prepared: Prepared,
    recipe: Recipe,
    options: ClassifierOptions,
    arm: str,
    seed: int,
    *,
    report: Report = silent,
) -> TrainedClassifier:
    """One classifier on one recipe, at its best evaluation on val by macro recall."""
    timer, store, runtime = Timer(), context.store, context.runtime()
    real = load_images(recipe.real)
    synthetic = load_images(recipe.synthetic) if recipe.synthetic else None
    for images in (real, synthetic):
        if images is not None:
            prepared.refuse_leaks(images, f"the classifier of arm {arm!r}")
    soft = load_state(recipe.soft_labels)["probabilities"] if recipe.soft_labels else None
    mixture = Mixture(real, synthetic, recipe.mix, runtime, seed=entropy(seed, "mixture"), soft_labels=soft)
    trained = classification.train(
        mixture,
        load_images(prepared.splits.val),
        options,
        runtime,
        seed=entropy(seed, "classifier"),
        hooks=_Pace(report, options.batch).hooks(),
        resume=_resume(context, options, [arm, seed, content(recipe), content(prepared.splits.val)]),
    )
    return TrainedClassifier(
        arm=arm,
        seed=seed,
        state=store.put_state("classifiers", trained_classifier.state_of(trained, options)),
        history=store.put_table("histories", _history(trained.history)),
        best_step=trained.best_step,
        time=timer.stop(),
    )


def _history(evaluations: list[Evaluation]) -> pd.DataFrame:
    """step, metric, value: a row per evaluation and figure."""
    rows = [
        (e.step, metric, value)
        for e in evaluations
        for metric, value in (("loss", e.loss), ("val_macro_recall", e.val_macro_recall), ("val_loss", e.val_loss))
    ]
    return pd.DataFrame(rows, columns=["step", "metric", "value"])
