"""The stages that judge what generators draw: curated synthesis, and fidelity against val."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe import classification, fidelity, generators, scores, synthesis
from augpipe.classification import Trained
from augpipe.curation import Curator, Reference
from augpipe.extractors import extractor
from augpipe.features import Embedded, Eyes
from augpipe.fidelity import COLUMNS, Compared
from augpipe.generating import loose_set
from augpipe.images import ImageSet
from augpipe.mixing import Mix, Mixture
from augpipe.records import Clock, Job, Measured, Prepared, Synthesised, TrainedGenerator
from augpipe.runtime import Runtime
from augpipe.seeds import entropy, torch_stream
from augpipe.store import Ref, Store, load_images, load_state, load_table

SUSPICIOUS = 24  # images of the gallery
NONE_MADE = "needs a synthetic image, has none"
NONE_REAL = "needs a real image, has none"
ONE_CLASS = "needs two classes with real and synthetic images"
FUNNEL = ("generator", "class", "check", "seen", "passed")


def eyes(job: Job, domain: Ref, store: Store | None, here: Runtime) -> Eyes:
    """What a run looks at images with."""
    judge = classification.from_state(load_state(domain), here)
    return Eyes(judge, here, extractor(job.experiment.fidelity.features, here), store)


def synthesise(
    job: Job,
    prepared: Prepared,
    domain: Ref,
    generator: TrainedGenerator,
    counts: Mapping[int, int],
    curated: bool,
) -> Synthesised:
    """The planned images of each class, on disk; with `curated`, those that pass the checks."""
    clock, (store, here) = Clock(), job.start()
    made, _ = generators.unpack(load_state(generator.checkpoint), here)
    train = load_images(prepared.splits.train)
    judge = _curator(job, prepared, domain, here) if curated else None
    sampled = synthesis.sample(
        made, counts, train, name=generator.name, seed=generator.seed, store=store, judge=judge
    )
    return Synthesised(
        images=sampled.images,
        checks=sampled.checks,
        funnel=store.put_table("funnels", _funnel(judge, generator.name, prepared.classes)),
        short=sampled.short,
        time=clock.stop(),
    )


def _curator(job: Job, prepared: Prepared, domain: Ref, here: Runtime) -> Curator:
    options = job.experiment.curation
    kept, loose = eyes(job, domain, Store(job.store), here), eyes(job, domain, None, here)
    train, val = load_images(prepared.splits.train), load_images(prepared.splits.val)

    def embed(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Embedded:
        return loose.embed(loose_set(torch.from_numpy(images), torch.from_numpy(labels), train))

    real = Reference(kept.embed(train), kept.embed(val), options.reject, options.purity)
    return Curator(options, real, embed)


def pool(job: Job, made: Sequence[Synthesised]) -> Synthesised:
    """Images of several generators as one set, in class order."""
    clock, store = Clock(), Store(job.store)
    sets = [load_images(part.images) for part in made]
    labels = np.concatenate([part.labels for part in sets])
    order = np.argsort(labels, kind="stable")
    table = pd.concat([part.table for part in sets], ignore_index=True)
    images = ImageSet(
        np.concatenate([part.images for part in sets]), labels, sets[0].classes, table
    )
    missing: dict[int, int] = {}
    for part in made:
        for label, n in part.short.items():
            missing[label] = missing.get(label, 0) + n
    return Synthesised(
        images=store.put_images(images, order),
        checks=store.put_table("checks", _stacked([part.checks for part in made])),
        funnel=store.put_table("funnels", _stacked([part.funnel for part in made])),
        short=missing,
        time=clock.stop().model_copy(update={"seconds": sum(p.time.seconds for p in made)}),
    )


def _stacked(refs: Sequence[Ref]) -> pd.DataFrame:
    """Tables below each other; an empty one has no say in the columns' types."""
    tables = [load_table(ref) for ref in refs]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def shares_of(plan: Mapping[int, int], parts: int) -> list[dict[int, int]]:
    """A plan dealt to several generators evenly; the first ones make what is left over."""
    return [
        {label: n // parts + (at < n % parts) for label, n in plan.items()} for at in range(parts)
    ]


def _funnel(judge: Curator | None, name: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """How many candidates each check saw and let pass, class by class."""
    seen, passed = (judge.seen, judge.passed) if judge else ({}, {})
    rows = [
        (name, classes[label], check, n, passed[check, label]) for (check, label), n in seen.items()
    ]
    return pd.DataFrame(rows, columns=list(FUNNEL))


def measure(job: Job, prepared: Prepared, domain: Ref, generator: TrainedGenerator) -> Measured:
    """Fidelity of fresh, uncurated images of every class that train has."""
    _, here = job.start()
    made, _ = generators.unpack(load_state(generator.checkpoint), here)
    train = load_images(prepared.splits.train)
    have = [label for label, n in prepared.counts["train"].items() if n > 0]
    labels = torch.tensor(have, dtype=torch.int64).repeat_interleave(job.experiment.fidelity.images)
    drawn = synthesis.draw(made, labels, torch_stream(generator.seed, "measure")).images
    return measure_set(job, prepared, domain, loose_set(drawn, labels, train), generator.seed)


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
