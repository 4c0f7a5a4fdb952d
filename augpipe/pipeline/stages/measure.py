"""The stage that measures what generators draw against val: fidelity, memorisation, GAN-train."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.classifiers import scores
from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.train import Trained
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import Ref, load_images, load_state
from augpipe.generators import families
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.records import Measured, Prepared, Synthetic, TrainedGenerator
from augpipe.pipeline.stages.embed import feature_extractor
from augpipe.synthetic import draw, fidelity
from augpipe.synthetic.fidelity import COLUMNS, Compared
from augpipe.synthetic.options import FidelityOptions

SUSPICIOUS = 24  # images of the gallery
NONE_MADE = "needs a synthetic image, has none"
NONE_REAL = "needs a real image, has none"
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
    model, _ = families.unpack(
        load_state(generator.checkpoint), context.runtime(), context.store.images
    )
    train = load_images(prepared.splits.train)
    have = [label for label, n in prepared.counts["train"].items() if n > 0]
    labels = torch.tensor(have, dtype=torch.int64).repeat_interleave(options.images)
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
    """Fidelity of the images that an arm was filled with."""
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
    """Fidelity of synthetic images against val, and against train for memorisation."""
    timer, store, runtime = Timer(), context.store, context.runtime()
    cache = None if context.fresh else store
    extractor = feature_extractor(reference, options.features, runtime, cache)
    val, train = load_images(prepared.splits.val), load_images(prepared.splits.train)
    compared = Compared(extractor.embed(val), extractor.embed(images), extractor.embed(train), seed)
    table = fidelity.measure(compared, prepared.classes)
    if options.gan_train and len(images):
        trained = _gan_train(images, val, classifier, runtime, seed)
        table = pd.concat([table, trained], ignore_index=True)
    rows = (
        fidelity.memorisation.gallery(compared, SUSPICIOUS)
        if len(images)
        else np.empty((0, 3), np.int64)
    )
    shown = [images.images[rows[:, 0]], train.images[rows[:, 1]], val.images[rows[:, 2]]]
    pixels = np.stack(shown, 1).reshape(-1, *images.spec.shape)
    labels = np.array(images.labels)[rows[:, 0]].repeat(3)
    gallery = draw.synthetic_set(torch.from_numpy(pixels), torch.from_numpy(labels), images)
    return Measured(
        table=store.put_table("fidelity", table),
        gallery=store.put_images(gallery),
        time=timer.stop(),
    )


def _gan_train(
    images: ImageSet, val: ImageSet, options: ClassifierOptions, runtime: Runtime, seed: int
) -> pd.DataFrame:
    """Recall on val of a classifier that saw synthetic images alone (Shmelkov et al. 2018; Ravuri & Vinyals 2019).

    Overall it is the mean over the classes that have both kinds of images; of val, only theirs are asked. Nothing is
    chosen on val: the last weights count.
    """
    made, n = images.counts(), val.counts()
    filled = [label for label in made if made[label] and n[label]]
    recalls = np.full(len(made), np.nan)
    if len(filled) > 1:
        asked = val.take(np.flatnonzero(np.isin(val.labels, filled)))
        recalls[filled] = _recalls(images, asked, options, runtime, entropy(seed, "gan-train"))[
            filled
        ]
    rows = []
    for label, name in enumerate(val.classes):
        word = NONE_MADE if not made[label] else NONE_REAL if not n[label] else ONE_CLASS
        known = np.isfinite(recalls[label])
        rows.append((name, float(recalls[label]), n[label], made[label], "" if known else word))
    mean = float(recalls[filled].mean()) if filled else float("nan")
    word = "" if len(filled) > 1 else ONE_CLASS if filled else NONE_REAL
    real, own = (sum(of[label] for label in filled) for of in (n, made))
    rows.insert(0, ("", mean, real, own, word))
    found = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "metric"])
    found.insert(1, "metric", "gan_train")
    return found


def _recalls(
    images: ImageSet, asked: ImageSet, options: ClassifierOptions, runtime: Runtime, seed: int
) -> NDArray[np.float64]:
    """Recall on real images, class by class, of a classifier trained on synthetic images alone, (K,)."""
    options = options.model_copy(update={"evaluations": 1})
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(images, None, mix, runtime, seed=seed)
    trained: Trained = classification.train(mixture, asked, options, runtime, seed=seed)
    return scores.recall(classification.predict(trained, asked, runtime), asked.labels)
