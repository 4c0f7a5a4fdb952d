from __future__ import annotations

import numpy as np
import torch
from contracts import steps, tiny

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.generators import families
from augpipe.generators.per_class import PerClass, class_subset
from augpipe.generators.protocol import Deriving, Problem


def joined(name: str, train: ImageSet, here: Runtime) -> PerClass:
    found = families.build(tiny(name), Problem(train.spec, train.classes), here, 0)
    found.prepare(train)
    assert isinstance(found, PerClass)
    return found


def test_a_part_sees_its_class_alone(make_shapes) -> None:
    train = make_shapes((5, 3, 4))
    own, rows = class_subset(train, 1)
    assert own.classes == ("c1",) and len(own) == 3 and set(own.labels) == {0}
    assert np.array_equal(own.images, train.images[train.labels == 1])
    assert np.array_equal(train.labels[rows], [1, 1, 1])
    assert own.table["id"].tolist() == train.table["id"].to_numpy()[rows].tolist()
    every, rows = class_subset(train, None)
    assert every.classes == ("all",) and len(every) == 12 and len(rows) == 12


def test_a_batch_trains_each_model_on_its_own_images(here, make_shapes, monkeypatch) -> None:
    train = make_shapes((9, 8, 7))
    generator = joined("dcgan, per class", train, here)
    images, labels = train.tensors()
    seen: dict[int, torch.Tensor] = {}
    for label, part in enumerate(generator.models):
        monkeypatch.setattr(
            part,
            "step",
            lambda own, zeros, label=label: seen.update({label: own}) or {"loss_d": torch.tensor(float(label))},
        )
    told = generator.step(images, labels)
    assert all(torch.equal(seen[c], images[labels == c]) for c in range(3))
    assert told["loss_d"].item() == 1.0  # the mean of 0, 1 and 2


def test_each_label_is_answered_by_its_own_model(here, make_shapes, monkeypatch) -> None:
    train = make_shapes((9, 8, 7))
    generator = joined("dcgan, per class", train, here)
    for label, part in enumerate(generator.models):
        monkeypatch.setattr(
            part,
            "sample",
            lambda asked, rng, label=label: torch.full((len(asked), 1, 16, 16), label, dtype=torch.uint8),
        )
    labels = torch.tensor([2, 0, 1, 1, 2, 0])
    images = generator.sample(labels, torch.Generator())
    assert images[:, 0, 0, 0].tolist() == labels.tolist()


def test_parents_are_rows_of_the_whole_set(here, make_shapes) -> None:
    train = make_shapes((9, 8, 7))
    generator = joined("dagan, per class", train, here)
    assert isinstance(generator, Deriving)
    steps(generator, train, 2)
    labels = torch.tensor([2, 0, 1, 1, 2, 0])
    made = generator.derive(labels, torch.Generator().manual_seed(0))
    assert np.array_equal(train.labels[made.parents.numpy()], labels.numpy())
