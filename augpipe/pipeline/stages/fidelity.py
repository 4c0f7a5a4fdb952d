"""The stage that measures what generators draw against val: fidelity, memorisation, GAN-train."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.classifiers import scores
from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mix, Mixture
from augpipe.classifiers.train import Trained
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import Ref, load_images, load_state
from augpipe.generators import families
from augpipe.pipeline.cache import reads
from augpipe.pipeline.records import Clock, Job, Measured, Prepared, Synthesised, TrainedGenerator
from augpipe.pipeline.stages.features import eyes
from augpipe.pipeline.stages.generators import loose_set
from augpipe.synthetic import draw as synthesis
from augpipe.synthetic import fidelity
from augpipe.synthetic.fidelity import COLUMNS, Compared

SUSPICIOUS = 24  # images of the gallery
NONE_MADE = "needs a synthetic image, has none"
NONE_REAL = "needs a real image, has none"
ONE_CLASS = "needs two classes with real and synthetic images"


@reads("fidelity", "classifier")
def measure(job: Job, prepared: Prepared, domain: Ref, generator: TrainedGenerator) -> Measured:
    """Fidelity of fresh, uncurated images of every class that train has."""
    store, here = job.start()
    made, _ = families.unpack(load_state(generator.checkpoint), here, store.images)
    train = load_images(prepared.splits.train)
    have = [label for label, n in prepared.counts["train"].items() if n > 0]
    labels = torch.tensor(have, dtype=torch.int64).repeat_interleave(job.experiment.fidelity.images)
    drawn = synthesis.draw(made, labels, torch_stream(generator.seed, "measure")).images
    return measure_set(job, prepared, domain, loose_set(drawn, labels, train), generator.seed)


@reads("fidelity", "classifier")
def measure_made(
    job: Job, prepared: Prepared, domain: Ref, made: Synthesised, seed: int
) -> Measured:
    """Fidelity of the images that an arm was filled with."""
    return measure_set(job, prepared, domain, load_images(made.images), seed)


def measure_set(job: Job, prepared: Prepared, domain: Ref, images: ImageSet, seed: int) -> Measured:
    """Fidelity of synthetic images against val, and against train where memorisation is asked after."""
    clock, (store, here) = Clock(), job.start()
    look = eyes(job, domain, store, here)
    val, train = load_images(prepared.splits.val), load_images(prepared.splits.train)
    compared = Compared(look.embed(val), look.embed(images), look.embed(train), seed)
    table = fidelity.measure(compared, prepared.classes)
    if job.experiment.fidelity.gan_train and len(images):
        table = pd.concat([table, _gan_train(job, images, val, here, seed)], ignore_index=True)
    rows = (
        fidelity.memorisation.gallery(compared, SUSPICIOUS)
        if len(images)
        else np.empty((0, 3), np.int64)
    )
    shown = [images.images[rows[:, 0]], train.images[rows[:, 1]], val.images[rows[:, 2]]]
    pixels = np.stack(shown, 1).reshape(-1, *images.spec.shape)
    of = np.array(images.labels)[rows[:, 0]].repeat(3)
    gallery = loose_set(torch.from_numpy(pixels), torch.from_numpy(of), images)
    return Measured(
        table=store.put_table("fidelity", table),
        gallery=store.put_images(gallery),
        time=clock.stop(),
    )


def _gan_train(job: Job, images: ImageSet, val: ImageSet, here: Runtime, seed: int) -> pd.DataFrame:
    """Recall on val of a classifier that saw synthetic images alone (Shmelkov et al. 2018; Ravuri & Vinyals 2019).

    Overall it is the mean over the classes that have both kinds of images; of val, only theirs are asked. Nothing is
    chosen on val: the last weights count.
    """
    made, n = images.counts(), val.counts()
    filled = [label for label in made if made[label] and n[label]]
    recalls = np.full(len(made), np.nan)
    if len(filled) > 1:
        asked = val.take(np.flatnonzero(np.isin(val.labels, filled)))
        recalls[filled] = _taught(job, images, asked, here, entropy(seed, "gan-train"))[filled]
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


def _taught(
    job: Job, images: ImageSet, asked: ImageSet, here: Runtime, seed: int
) -> NDArray[np.float64]:
    """Recall on the asked images, class by class, of a classifier of synthetic images alone, (K,)."""
    options = job.experiment.classifier.model_copy(update={"evaluations": 1})
    mixture = Mixture(images, None, Mix(sampler="balanced", transform="light"), here, seed=seed)
    trained: Trained = classification.train(mixture, asked, options, here, seed=seed)
    return scores.recall(classification.predict(trained, asked, here), asked.labels)
