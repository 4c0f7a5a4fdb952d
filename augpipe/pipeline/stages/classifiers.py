"""The stages that train classifiers; the first one judges synthetic images."""

from __future__ import annotations

import pandas as pd

from augpipe.classifiers import mixing
from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.train import Trained, train
from augpipe.core.device import Runtime
from augpipe.core.images import Splits
from augpipe.core.seeds import entropy
from augpipe.core.store import Ref, load_images, load_json, load_splits, load_state
from augpipe.pipeline.cache import reads
from augpipe.pipeline.records import Clock, Job, Prepared, Report, TrainedClassifier


@reads("classifier")
def train_features(job: Job, prepared: Prepared, seed: int) -> Ref:
    """The real-only classifier whose features and classes judge synthetic images."""
    store, here = job.start()
    splits = load_splits(prepared.splits)
    prepared.refuse_leaks(splits.train, "the classifier that judges generators")
    options = job.experiment.classifier
    domain = train_domain(splits, options, here, seed=entropy(seed, "domain"))
    return store.put_state("classifiers", classification.state_of(domain, options))


def train_domain(
    splits: Splits, options: ClassifierOptions, runtime: Runtime, *, seed: int
) -> Trained:
    """A classifier of class-balanced, lightly transformed real images; sees train, its epoch chosen on val."""
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(splits.train, None, mix, runtime, seed=seed)
    return train(mixture, splits.val, options, runtime, seed=seed)


@reads("classifier")
def train_classifier(
    job: Job, prepared: Prepared, recipe: Ref, arm: str, seed: int, *, report: Report
) -> TrainedClassifier:
    """One classifier on one mixture; its best moment by val macro recall is kept."""
    clock, (store, here) = Clock(), job.start()
    told = load_json(recipe)
    real = load_images(Ref.model_validate(told["real"]))
    made = load_images(Ref.model_validate(told["synthetic"])) if told["synthetic"] else None
    for images in (real, made):
        if images is not None:
            prepared.refuse_leaks(images, f"the classifier of arm {arm!r}")
    said = load_state(Ref.model_validate(told["said"]))["probabilities"] if told["said"] else None
    mixture = mixing.Mixture(
        real,
        made,
        Mix.model_validate(told["mix"]),
        here,
        seed=entropy(seed, "mixture"),
        said=said,
    )
    options = job.experiment.classifier
    trained = classification.train(
        mixture,
        load_images(prepared.splits.val),
        options,
        here,
        seed=entropy(seed, "classifier"),
        on_evaluation=lambda e: report(f"val macro recall {e.val_macro_recall:.3f}", e.step),
    )
    history = [
        (e.step, metric, value)
        for e in trained.history
        for metric, value in (
            ("loss", e.loss),
            ("val_macro_recall", e.val_macro_recall),
            ("val_loss", e.val_loss),
        )
    ]
    return TrainedClassifier(
        arm=arm,
        seed=seed,
        state=store.put_state("classifiers", classification.state_of(trained, options)),
        history=store.put_table(
            "histories", pd.DataFrame(history, columns=["step", "metric", "value"])
        ),
        best_step=trained.best_step,
        time=clock.stop(),
    )
