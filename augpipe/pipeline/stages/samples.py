"""The stages that fill: curated synthesis, and the pooling of several generators' images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.store import Ref, Store, load_images, load_state, load_table
from augpipe.generators import families
from augpipe.pipeline.cache import reads
from augpipe.pipeline.records import Clock, Job, Prepared, Synthesised, TrainedGenerator
from augpipe.pipeline.stages.features import eyes
from augpipe.pipeline.stages.generators import loose_set
from augpipe.synthetic import draw as synthesis
from augpipe.synthetic.curation import Curator, Reference
from augpipe.synthetic.embeddings import Embedded

FUNNEL = ("generator", "class", "check", "seen", "passed")


@reads("curation", "fidelity")
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
    made, _ = families.unpack(load_state(generator.checkpoint), here, store.images)
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


@reads()
def pool(job: Job, made: Sequence[Synthesised]) -> Synthesised:
    """Images of several generators as one set, in class order; within a class each generator's in turn.

    So the first images of a class, which a search for how many are needed tries alone, are of all of them.
    """
    clock, store = Clock(), Store(job.store)
    sets = [load_images(part.images) for part in made]
    labels = np.concatenate([part.labels for part in sets])
    place = np.concatenate([_place_in_class(part.labels) for part in sets])
    order = np.lexsort((place, labels))  # stable: of equal places the first generator's comes first
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


def _place_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many images of its class stand before each."""
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = np.arange(len(rows))
    return place


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
