"""The stages that train classifiers: the reference classifier, and one per arm and seed."""

from __future__ import annotations

import pandas as pd

from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.train import Evaluation, Trained, train
from augpipe.core.device import Runtime
from augpipe.core.images import Splits
from augpipe.core.seeds import entropy
from augpipe.core.store import Ref, load_images, load_splits, load_state
from augpipe.pipeline.context import Context, Report, Timer, silent
from augpipe.pipeline.records import Prepared, Recipe, TrainedClassifier


def train_reference(
    context: Context, prepared: Prepared, options: ClassifierOptions, seed: int
) -> Ref:
    """The reference classifier: trained on real images alone; its features and classes check synthetic images."""
    store, runtime = context.store, context.runtime()
    splits = load_splits(prepared.splits)
    prepared.refuse_leaks(splits.train, "the reference classifier")
    trained = fit_reference(splits, options, runtime, seed=entropy(seed, "domain"))
    return store.put_state("classifiers", classification.state_of(trained, options))


def fit_reference(
    splits: Splits, options: ClassifierOptions, runtime: Runtime, *, seed: int
) -> Trained:
    """A classifier of class-balanced, lightly transformed train images, at its best evaluation on val."""
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(splits.train, None, mix, runtime, seed=seed)
    return train(mixture, splits.val, options, runtime, seed=seed)


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
    mixture = Mixture(
        real, synthetic, recipe.mix, runtime, seed=entropy(seed, "mixture"), soft_labels=soft
    )
    trained = classification.train(
        mixture,
        load_images(prepared.splits.val),
        options,
        runtime,
        seed=entropy(seed, "classifier"),
        on_evaluation=lambda e: report(f"val macro recall {e.val_macro_recall:.3f}", e.step),
    )
    return TrainedClassifier(
        arm=arm,
        seed=seed,
        state=store.put_state("classifiers", classification.state_of(trained, options)),
        history=store.put_table("histories", _history(trained.history)),
        best_step=trained.best_step,
        time=timer.stop(),
    )


def _history(evaluations: list[Evaluation]) -> pd.DataFrame:
    """step, metric, value: a row per evaluation and figure."""
    rows = [
        (e.step, metric, value)
        for e in evaluations
        for metric, value in (
            ("loss", e.loss),
            ("val_macro_recall", e.val_macro_recall),
            ("val_loss", e.val_loss),
        )
    ]
    return pd.DataFrame(rows, columns=["step", "metric", "value"])
