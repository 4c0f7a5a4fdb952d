"""The stage that replaces the head of a trained classifier, for arms with `mix.head`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.refit import refit
from augpipe.core.seeds import entropy
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.records import Prepared, Recipe, TrainedClassifier


def train_head(
    context: Context,
    prepared: Prepared,
    recipe: Recipe,
    base: TrainedClassifier,
    options: ClassifierOptions,
    arm: str,
    seed: int,
) -> TrainedClassifier:
    """The classifier `base` with the head of the recipe's mix; time: of the head alone.

    The history is that of `base`, with a row for each option of the head that was chosen on val.
    """
    timer, store, runtime = Timer(), context.store, context.runtime()
    mix = recipe.mix
    if mix.head is None:
        raise ValueError(f"arm {arm!r} has no head")
    real = load_images(recipe.real)
    prepared.refuse_leaks(real, f"the head of arm {arm!r}")
    trained = trained_classifier.from_state(load_state(base.state), runtime)
    images = (real, load_images(prepared.splits.val))
    chosen = refit(trained, mix.head, mix.transform, images, runtime, seed=entropy(seed, "classifier"))
    return TrainedClassifier(
        arm=arm,
        seed=seed,
        state=store.put_state("classifiers", trained_classifier.state_of(trained, options)),
        history=store.put_table("histories", _history(base, chosen)),
        best_step=base.best_step,
        time=timer.stop(),
    )


def _history(base: TrainedClassifier, chosen: Mapping[str, float]) -> pd.DataFrame:
    """step, metric, value: the rows of `base`, and one for each option that was chosen."""
    history = load_table(base.history)
    rows = [(base.best_step, f"head_{name}", value) for name, value in chosen.items()]
    return pd.concat([history, pd.DataFrame(rows, columns=history.columns)]) if rows else history
