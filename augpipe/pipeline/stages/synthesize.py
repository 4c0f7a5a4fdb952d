"""The stages that create synthetic images: curated synthesis, and pooling of several generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state, load_table
from augpipe.generators import families
from augpipe.pipeline.context import Context, Timer
from augpipe.pipeline.records import Prepared, Synthetic, TrainedGenerator
from augpipe.pipeline.stages.embed import feature_extractor
from augpipe.synthetic import draw
from augpipe.synthetic.curation import Curator, Reference
from augpipe.synthetic.embeddings import Embedded, FeatureExtractor
from augpipe.synthetic.options import Curation

FUNNEL = ("generator", "class", "check", "seen", "passed")


def synthesize(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    generator: TrainedGenerator,
    counts: Mapping[int, int],
    curation: Curation | None,
    features: str,
) -> Synthetic:
    """Draw and store counts[label] images of each class; with `curation`, only images that pass its checks.

    Of a generator of cells, counts are of cells, and the stored labels are classes. features: extractor of the checks
    that compare images (see `FidelityOptions.features`).
    """
    timer, runtime = Timer(), context.runtime()
    store = context.store
    model, _ = families.unpack(load_state(generator.checkpoint), runtime, store.images)
    train = load_images(prepared.splits.train)
    curator = None
    if curation is not None:
        cache = None if context.fresh else store
        curator = curator_of(
            curation,
            prepared,
            feature_extractor(reference, features, runtime, cache),
            feature_extractor(reference, features, runtime, None),
        )
    sampled = draw.sample(
        model,
        counts,
        train,
        name=generator.name,
        seed=generator.seed,
        store=store,
        curator=curator,
        class_of=generator.class_of,
    )
    return Synthetic(
        images=sampled.images,
        checks=sampled.checks,
        funnel=store.put_table("funnels", _funnel(curator, generator.name, prepared.classes)),
        short=sampled.short,
        time=timer.stop(),
    )


def curator_of(options: Curation, prepared: Prepared, stored: FeatureExtractor, fresh: FeatureExtractor) -> Curator:
    """The checks against the run's train and val. stored: extractor whose embeddings of real images are cached. fresh:
    extractor for candidates, not cached.
    """
    train, val = load_images(prepared.splits.train), load_images(prepared.splits.val)

    def embed(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Embedded:
        candidates = draw.synthetic_set(torch.from_numpy(images), torch.from_numpy(labels), train)
        return fresh.embed(candidates)

    real = Reference(stored.embed(train), stored.embed(val), options.reject, options.purity)
    return Curator(options, real, embed)


def pool(context: Context, sets: Sequence[Synthetic]) -> Synthetic:
    """Pool images of several generators into one set, in class order, alternating between generators within a class.

    The first images of a class, which a search over the number of images uses, are then from all generators.
    """
    timer, store = Timer(), context.store
    parts = [load_images(synthetic.images) for synthetic in sets]
    labels = np.concatenate([part.labels for part in parts])
    place = np.concatenate([_place_in_class(part.labels) for part in parts])
    order = np.lexsort((place, labels))  # stable: ties in generator order
    missing: dict[int, int] = {}
    for synthetic in sets:
        for label, n in synthetic.short.items():
            missing[label] = missing.get(label, 0) + n
    return Synthetic(
        images=store.put_joined(parts, order),
        checks=store.put_table("checks", _stacked([synthetic.checks for synthetic in sets])),
        funnel=store.put_table("funnels", _stacked([synthetic.funnel for synthetic in sets])),
        short=missing,
        time=timer.stop().model_copy(update={"seconds": sum(synthetic.time.seconds for synthetic in sets)}),
    )


def _place_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of earlier images of the same class, for each image."""
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        place[rows] = np.arange(len(rows))
    return place


def _stacked(refs: Sequence[Ref]) -> pd.DataFrame:
    """Concatenated tables; empty ones are skipped because they change column types."""
    tables = [load_table(ref) for ref in refs]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def split_plan(plan: Mapping[int, int], parts: int) -> list[dict[int, int]]:
    """Divide a plan evenly among generators; the first ones take the remainder."""
    return [{label: n // parts + (at < n % parts) for label, n in plan.items()} for at in range(parts)]


def _funnel(curator: Curator | None, name: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Candidates that each check saw and passed, by class."""
    seen, passed = (curator.seen, curator.passed) if curator else ({}, {})
    rows = [(name, classes[label], check, n, passed[check, label]) for (check, label), n in seen.items()]
    return pd.DataFrame(rows, columns=list(FUNNEL))
