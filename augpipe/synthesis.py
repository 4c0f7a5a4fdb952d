"""sample(generator, plan) → image set on disk, streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from augpipe.counts import Counts
from augpipe.generators import Derived, Deriving, Generator
from augpipe.images import SYNTHETIC, ImageSet, provenance
from augpipe.seeds import torch_stream
from augpipe.store import Ref, Store, image_writer, write_labels

AT_ONCE = 1024


def sample(
    generator: Generator, counts: Counts, train: ImageSet, *, name: str, seed: int, store: Store
) -> Ref:
    """counts[c] images of each class c, in class order, written as they come.

    A synthetic image made from a train image carries that one's id as parent and its group; any other
    is a group of its own. `name` begins the ids and stands as the source.
    """
    order = torch.cat(
        [torch.full((n,), c) for c, n in sorted(counts.items()) if n > 0] or [torch.empty(0)]
    )
    labels = order.to(torch.int64)
    rng = torch_stream(seed, "synthesis")

    def write(folder: Path) -> None:
        parents = np.full(len(labels), -1, np.int64)
        with image_writer(folder, len(labels), train.spec) as rows:
            for start in range(0, len(labels), AT_ONCE):
                part = labels[start : start + AT_ONCE]
                made = draw(generator, part, rng)
                rows[start : start + len(part)] = made.images.numpy()
                parents[start : start + len(part)] = made.parents.numpy()
        ids = [f"{name}/{seed}/{row}" for row in range(len(labels))]
        known = parents >= 0
        of_parent = np.where(known, parents, 0)
        table = provenance(
            ids,
            origin=SYNTHETIC,
            groups=np.where(known, train.table["group"].to_numpy()[of_parent], ids).tolist(),
            parents=np.where(known, train.table["id"].to_numpy()[of_parent], "").tolist(),
            sources=[name] * len(ids),
        )
        write_labels(folder, labels.numpy(), train.classes, table)

    return store.put("images", write)


def draw(generator: Generator, labels: torch.Tensor, rng: torch.Generator) -> Derived:
    """Images and the train rows they were made from, -1 where a generator makes them from noise."""
    if isinstance(generator, Deriving):
        return generator.derive(labels, rng)
    images = generator.sample(labels, rng)
    return Derived(images, torch.full((len(labels),), -1, dtype=torch.int64))
