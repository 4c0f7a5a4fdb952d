from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objectives import COUNTS, EVEN, batch, made
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from augpipe.classifiers import mixing
from augpipe.classifiers import objective as objectives
from augpipe.classifiers.losses import losses
from augpipe.classifiers.objective import Named
from augpipe.classifiers.options import Mix


def test_cross_entropy_with_weights_is_torchs() -> None:
    z, y = batch()
    plain = made("cross_entropy")
    assert float(plain(z, [Named(y)])) == pytest.approx(float(F.cross_entropy(z, y)), rel=1e-6)
    weighted = made("cross_entropy", "balanced")
    theirs = F.cross_entropy(z, y, weight=weighted.weights)
    assert float(weighted(z, [Named(y)])) == pytest.approx(float(theirs), rel=1e-6)
    smooth = made({"kind": "cross_entropy", "smoothing": 0.1})
    theirs = F.cross_entropy(z, y, label_smoothing=0.1)
    assert float(smooth(z, [Named(y)])) == pytest.approx(float(theirs), rel=1e-6)


def test_balanced_weights_are_scikit_learns() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=y)
    natural = mixing.class_probabilities(COUNTS, dict.fromkeys(COUNTS, 0), Mix())
    found = objectives.class_weights("balanced", natural, COUNTS)
    assert found.tolist() == pytest.approx(theirs.tolist(), rel=1e-6)


def test_balanced_weights_do_not_weigh_twice_what_is_drawn_evenly() -> None:
    found = objectives.class_weights("balanced", EVEN, COUNTS)
    assert found.tolist() == pytest.approx([1, 1, 1])
    absent = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    found = objectives.class_weights("balanced", absent, {0: 5, 1: 5, 2: 0})
    assert found.tolist() == pytest.approx([1, 1, 0])


def test_effective_weights_are_one_over_the_effective_number() -> None:
    """Cui et al. 2019: 1 / E_n with E_n = (1 - b^n) / (1 - b), up to a factor, over natural batches."""
    counts = {0: 50_000, 1: 5_000, 2: 10}
    total = sum(counts.values())
    prior = torch.tensor([n / total for n in counts.values()], dtype=torch.float64)
    beta = objectives.BETA
    inverse = [(1 - beta) / (1 - beta**n) for n in counts.values()]
    found = objectives.class_weights("effective", prior, counts).tolist()
    assert [w / found[0] for w in found] == pytest.approx([i / inverse[0] for i in inverse], rel=1e-5)
    # Over even batches the classes weigh in all what they weigh over natural ones.
    even = objectives.class_weights("effective", EVEN, counts).double()
    masses = (even * EVEN) / (even * EVEN).sum()
    natural = torch.tensor(found, dtype=torch.float64) * prior
    assert masses.tolist() == pytest.approx((natural / natural.sum()).tolist(), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 500), min_size=2, max_size=6),
    st.sampled_from(["natural", "sqrt", "balanced"]),
    st.sampled_from(["balanced", "effective"]),
)
def test_weights_average_to_one_over_what_is_drawn(sizes, sampler, weighting) -> None:
    counts = dict(enumerate(sizes))
    prior = mixing.class_probabilities(counts, dict.fromkeys(counts, 0), Mix(sampler=sampler))
    weights = objectives.class_weights(weighting, prior, counts).double()
    assert float((weights * prior).sum()) == pytest.approx(1, rel=1e-5)
    assert (weights > 0).all()


def test_deferred_weights_set_in_after_their_share() -> None:
    z, y = batch()
    found = made("cross_entropy", "balanced", defer=0.8)
    plain, weighted = F.cross_entropy(z, y), F.cross_entropy(z, y, weight=found.weights)
    assert float(found(z, [Named(y)], 0.79)) == pytest.approx(float(plain), rel=1e-6)
    assert float(found(z, [Named(y)], 0.80)) == pytest.approx(float(weighted), rel=1e-6)


@pytest.mark.parametrize("loss", list(losses))
def test_what_is_called_twice_counts_by_its_shares(loss) -> None:
    z, y = batch()
    other = (y + 1) % 3
    found = made(loss)
    first, second = (float(found(z, [Named(labels)])) for labels in (y, other))
    own = torch.full((len(z),), 0.3)
    mixed = found(z, [Named(y, own), Named(other, 1 - own)])
    assert float(mixed) == pytest.approx(0.3 * first + 0.7 * second, rel=1e-5)


def test_an_items_weight_is_a_weighted_mean() -> None:
    z, y = batch(2)
    one, other = (float(made("cross_entropy")(z[i : i + 1], [Named(y[i : i + 1])])) for i in (0, 1))
    found = made("cross_entropy")(z, [Named(y, torch.tensor([1.0, 3.0]))])
    assert float(found) == pytest.approx((one + 3 * other) / 4, rel=1e-6)


def test_items_of_no_weight_teach_nothing_and_break_nothing() -> None:
    z, y = batch()
    z.requires_grad_()
    loss = made("cross_entropy", "balanced")(z, [Named(y, torch.zeros(len(z)))])
    loss.backward()
    assert float(loss.detach()) == 0 and not z.grad.abs().any()
