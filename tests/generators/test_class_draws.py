"""Labels and rows drawn class by class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.core.images import ImageSet, provenance
from augpipe.generators.class_draws import ClassUniform, drawn_together


def test_rows_within_a_class_come_uniformly() -> None:
    labels = np.array([0, 1, 1, 0, 3, 1, 1])
    train = ImageSet(np.zeros((7, 1, 4, 4), np.uint8), labels, ("a", "b", "c", "d"), provenance(list("abcdefg")))
    rows = ClassUniform(train, torch.Generator().manual_seed(0)).draw(30_000)
    seen = Counter(rows.tolist())
    for row, label in enumerate(labels.tolist()):
        share = 1 / 3 / {0: 2, 1: 4, 3: 1}[label]
        assert seen[row] / 30_000 == pytest.approx(share, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 100), st.integers(1, 8), st.integers(0, 1000))
def test_classes_are_drawn_for_images_in_a_row(k: int, n: int, together: int, seed: int) -> None:
    classes = torch.arange(k) * 3
    labels = drawn_together(classes, n, together, torch.Generator().manual_seed(seed))
    assert len(labels) == n and set(labels.tolist()) <= set(classes.tolist())
    for part in labels.split(together):
        assert len(set(part.tolist())) == 1


def test_classes_drawn_together_come_as_often_as_each_other(make_shapes) -> None:
    rows = ClassUniform(make_shapes((30, 5, 2)), torch.Generator().manual_seed(0), together=4)
    drawn = torch.cat([rows.draw(40) for _ in range(300)])
    shares = torch.bincount((drawn >= 30).long() + (drawn >= 35).long()) / len(drawn)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.04)
    assert len(drawn.unique()) == 37
