"""The stage that scores a classifier: on val and, this once, on test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers import scores
from augpipe.classifiers import train as classification
from augpipe.classifiers.options import Mix
from augpipe.core.store import Ref, load_images, load_json, load_state
from augpipe.pipeline.cache import reads
from augpipe.pipeline.records import Job, Prepared, Scored, TrainedClassifier


@reads()
def score(job: Job, prepared: Prepared, classifier: TrainedClassifier, recipe: Ref) -> Scored:
    """Val and, this once, test."""
    store, here = job.start()
    trained = classification.from_state(load_state(classifier.state), here)
    told = load_json(recipe)
    beside = Mix.model_validate(told["mix"]).beside
    made = load_images(Ref.model_validate(told["synthetic"])) if beside else None
    tables, probabilities = [], {}
    for split in ("val", "test"):
        images = load_images(getattr(prepared.splits, split))
        if beside is None or made is None:
            found = classification.predict(trained, images, here)
        else:
            found = classification.predict_beside(
                trained, images, made, beside.k, beside.weight, here
            )
        probabilities[split] = torch.from_numpy(np.ascontiguousarray(found))
        table = scores.score(found, images.labels, prepared.classes, prepared.counts["train"])
        table.insert(0, "split", split)
        tables.append(table)
    return Scored(
        arm=classifier.arm,
        seed=classifier.seed,
        table=store.put_table("scores", pd.concat(tables)),
        probabilities=store.put_state("probabilities", probabilities),
    )
