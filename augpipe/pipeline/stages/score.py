"""The stage that scores a classifier on val and test, once for each trained classifier.

What is trained or chosen sees no test image. Later stages read the predictions that are stored here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers import scores
from augpipe.classifiers import trained as trained_classifier
from augpipe.core.options import SHIFT
from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.context import Context
from augpipe.pipeline.records import Prepared, Recipe, Scored, TrainedClassifier


def score(context: Context, prepared: Prepared, classifier: TrainedClassifier, recipe: Recipe) -> Scored:
    """Compute every metric on val and test, and store the predicted probabilities."""
    return _score(context, prepared, classifier, recipe, {})


def score_with_shift(
    context: Context, prepared: Prepared, classifier: TrainedClassifier, recipe: Recipe, shift: Ref
) -> Scored:
    """`score`, and the same of the second test set."""
    return _score(context, prepared, classifier, recipe, {SHIFT: shift})


def _score(
    context: Context, prepared: Prepared, classifier: TrainedClassifier, recipe: Recipe, more: Mapping[str, Ref]
) -> Scored:
    """more: further splits."""
    store, runtime = context.store, context.runtime()
    trained = trained_classifier.from_state(load_state(classifier.state), runtime)
    beside = recipe.mix.beside
    synthetic = load_images(recipe.synthetic) if beside and recipe.synthetic else None
    tables, probabilities = [], {}
    for split, ref in {"val": prepared.splits.val, "test": prepared.splits.test, **more}.items():
        images = load_images(ref)
        if beside is None or synthetic is None:
            predicted = trained_classifier.predict(trained, images, runtime)
        else:
            predicted = trained_classifier.predict_beside(trained, images, synthetic, beside.k, beside.weight, runtime)
        probabilities[split] = torch.from_numpy(np.ascontiguousarray(predicted))
        table = scores.score(predicted, images.labels, prepared.classes, prepared.counts["train"])
        table.insert(0, "split", split)
        tables.append(table)
    return Scored(
        arm=classifier.arm,
        seed=classifier.seed,
        table=store.put_table("scores", pd.concat(tables)),
        probabilities=store.put_state("probabilities", probabilities),
    )
