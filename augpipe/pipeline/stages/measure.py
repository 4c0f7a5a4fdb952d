"""The stage that measures what generators draw against val: fidelity, memorisation, GAN-train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.classifiers import scores
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.trained import Trained
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import load_images, load_state
from augpipe.generators import families
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.records import Measured, Prepared, Synthetic, TrainedGenerator
from augpipe.pipeline.stages.embed import feature_extractor
from augpipe.synthetic import draw, fidelity
from augpipe.synthetic.fidelity import COLUMNS, Compared
from augpipe.synthetic.options import FidelityOptions

SUSPICIOUS = 24  # images of the gallery
NO_SYNTHETIC = "needs a synthetic image, has none"
NO_REAL = "needs a real image, has none"
ONE_CLASS = "needs two classes with real and synthetic images"


def measure(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    generator: TrainedGenerator,
    options: FidelityOptions,
    classifier: ClassifierOptions,
) -> Measured:
    """Fidelity of fresh, uncurated images of every class that train has; classifier: options for GAN-train."""
    model, _ = families.unpack(load_state(generator.checkpoint), context.runtime(), context.store.images)
    train = load_images(prepared.splits.train)
    labels = draw.labels_of(prepared.counts["train"], options.images, model)
    drawn = draw.draw(model, labels, torch_stream(generator.seed, "measure")).images
    images = draw.synthetic_set(drawn, labels, train)
    return measure_set(context, prepared, reference, images, options, classifier, generator.seed)


def measure_synthetic(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    synthetic: Synthetic,
    options: FidelityOptions,
    classifier: ClassifierOptions,
    seed: int,
) -> Measured:
    """Fidelity of the synthetic images of an arm."""
    images = load_images(synthetic.images)
    return measure_set(context, prepared, reference, images, options, classifier, seed)


def measure_set(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    images: ImageSet,
    options: FidelityOptions,
    classifier: ClassifierOptions,
    seed: int,
) -> Measured:
    """Fidelity of synthetic images against val, and against train for memorisation.

    LeakError for GAN-train on a copy of an image of val or test that train does not have.
    """
    if options.gan_train:
        prepared.refuse_leaks(images, "the classifier of GAN-train", anonymous=True)
    timer, store, runtime = Timer(), context.store, context.runtime()
    cache = None if context.fresh else store
    extractor = feature_extractor(reference, options.features, runtime, cache)
    val, train = load_images(prepared.splits.val), load_images(prepared.splits.train)
    real, synthetic, learned = (replace(extractor.embed(s), class_of=prepared.class_of) for s in (val, images, train))
    compared = Compared(real, synthetic, learned, seed)
    table = fidelity.measure(compared, prepared.classes)
    if options.gan_train and len(images):
        trained = _gan_train(images, val, classifier, runtime, seed)
        table = pd.concat([table, trained], ignore_index=True)
    rows = fidelity.memorisation.gallery(compared, SUSPICIOUS) if len(images) else np.empty((0, 3), np.int64)
    shown = [images.images[rows[:, 0]], train.images[rows[:, 1]], val.images[rows[:, 2]]]
    pixels = np.stack(shown, 1).reshape(-1, *images.spec.shape)
    labels = np.array(images.labels)[rows[:, 0]].repeat(3)
    gallery = draw.synthetic_set(torch.from_numpy(pixels), torch.from_numpy(labels), images)
    return Measured(table=store.put_table("fidelity", table), gallery=store.put_images(gallery), time=timer.stop())


def _gan_train(
    images: ImageSet, val: ImageSet, options: ClassifierOptions, runtime: Runtime, seed: int
) -> pd.DataFrame:
    """Recall on val of a classifier trained only on synthetic images (Shmelkov et al. 2018; Ravuri & Vinyals 2019).

    The overall value is the mean over the classes with both real and synthetic images; only their val images are used.
    Nothing is selected on val: the last weights are used.
    """
    n_synthetic, n_real = images.counts(), val.counts()
    filled = [label for label in n_synthetic if n_synthetic[label] and n_real[label]]
    recalls = np.full(len(n_synthetic), np.nan)
    if len(filled) > 1:
        evaluated = val.take(np.flatnonzero(np.isin(val.labels, filled)))
        recalls[filled] = _recalls(images, evaluated, options, runtime, entropy(seed, "gan-train"))[filled]
    rows = []
    for label, name in enumerate(val.classes):
        note = NO_SYNTHETIC if not n_synthetic[label] else NO_REAL if not n_real[label] else ONE_CLASS
        known = np.isfinite(recalls[label])
        rows.append((name, float(recalls[label]), n_real[label], n_synthetic[label], "" if known else note))
    mean = float(recalls[filled].mean()) if filled else float("nan")
    note = "" if len(filled) > 1 else ONE_CLASS if filled else NO_REAL
    total_real, total_synthetic = (sum(of[label] for label in filled) for of in (n_real, n_synthetic))
    rows.insert(0, ("", mean, total_real, total_synthetic, note))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "metric"])
    table.insert(1, "metric", "gan_train")
    return table


def _recalls(
    images: ImageSet, evaluated: ImageSet, options: ClassifierOptions, runtime: Runtime, seed: int
) -> NDArray[np.float64]:
    """Recall of each class on real images of a classifier trained only on synthetic images, (K,)."""
    options = options.model_copy(update={"evaluations": 1})
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(images, None, mix, runtime, seed=seed)
    trained: Trained = classification.train(mixture, evaluated, options, runtime, seed=seed)
    return scores.recall(trained_classifier.predict(trained, evaluated, runtime), evaluated.labels)
