from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.classifiers import mixing
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import Mix, Prefer
from augpipe.core.device import ClassRows
from augpipe.core.errors import UserError
from augpipe.core.images import SYNTHETIC, ImageSet, provenance

REAL, MADE = {0: 60, 1: 30, 2: 10}, {0: 0, 1: 30, 2: 50}
NAMES = ("cat", "dog", "7")


def test_natural_counts_synthetic_images_in() -> None:
    found = mixing.class_probabilities(REAL, MADE, Mix())
    assert found.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    found = mixing.class_probabilities(REAL, dict.fromkeys(REAL, 0), Mix())
    assert found.tolist() == pytest.approx([0.6, 0.3, 0.1])


def test_balanced_and_square_root() -> None:
    none = dict.fromkeys(REAL, 0)
    assert mixing.class_probabilities(REAL, none, Mix(sampler="balanced")).tolist() == pytest.approx([1 / 3] * 3)
    roots = np.sqrt([60, 30, 10])
    found = mixing.class_probabilities(REAL, none, Mix(sampler="sqrt"))
    assert found.tolist() == pytest.approx((roots / roots.sum()).tolist())


def test_share_says_how_often_an_item_is_synthetic() -> None:
    assert mixing.shares(REAL, MADE, Mix(share=0.3), NAMES).tolist() == pytest.approx([0, 0.3, 0.3])
    assert mixing.shares(REAL, MADE, Mix(share="fill"), NAMES).tolist() == pytest.approx([0, 0.5, 5 / 6])


def test_a_share_of_each_class_and_none_where_none_is_named() -> None:
    mix = Mix(share={7: 0.4, "cat": 0.9})
    assert mix.share == {"7": 0.4, "cat": 0.9}
    # No cat was made; of a dog nothing is said.
    assert mixing.shares(REAL, MADE, mix, NAMES).tolist() == pytest.approx([0, 0, 0.4])
    assert Mix.model_validate(mix.model_dump(mode="json")) == mix
    with pytest.raises(UserError, match="unknown class 'cow'; choose from cat, dog, 7"):
        mixing.shares(REAL, MADE, Mix(share={"cow": 0.1}), NAMES)


def test_images_that_are_never_shown_do_not_make_their_class_come_more_often(here) -> None:
    """40 images of the second class are made and 40 of the third, and only the third's are shown."""
    real, made = flat_set((60, 20, 20), 0), flat_set((0, 40, 40), 100, SYNTHETIC)
    mixture = Mixture(real, made, Mix(share={"2": 0.5}), here, seed=0)
    assert mixture.class_probabilities.tolist() == pytest.approx([60 / 140, 20 / 140, 60 / 140])
    assert mixture.shares.tolist() == [0, 0, 0.5]


def test_a_number_that_yaml_takes_for_text_is_one() -> None:
    assert Mix(share="5e-2").share == 0.05
    assert Mix(share={"a": "5e-2"}).share == {"a": 0.05}


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (1.5, r"a share must be a number in \[0, 1\]; got 1.5"),
        (True, r"a share must be a number in \[0, 1\]; got True"),
        ({"cat": -0.1}, r"a share must be a number in \[0, 1\]; got -0.1"),
        ({"cat": "auto"}, r"a share must be a number in \[0, 1\]; got 'auto'"),
        ({7: 0.1, "7": 0.2}, "duplicate class in the share"),
        ("some", r"unknown share 'some'; choose from fill, auto, per_class, a number in \[0, 1\], or one per class"),
        (None, r"a share must be a number in \[0, 1\]; got None"),
    ],
)
def test_what_is_no_share_is_refused(share: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Mix(share=share)


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=5),
    st.sampled_from(["natural", "sqrt", "balanced"]),
    st.floats(0, 1),
)
def test_probabilities_sum_to_one_and_shares_stay_in_range(sizes, sampler, share) -> None:
    have = dict(enumerate(sizes))
    made = {c: (n * 3) % 7 for c, n in have.items()}
    mix = Mix(sampler=sampler, share=share)
    assert float(mixing.class_probabilities(have, made, mix).sum()) == pytest.approx(1)
    found = mixing.shares(have, made, mix, [str(c) for c in have])
    assert all(0 <= s <= 1 for s in found.tolist())
    assert all(s == 0 for s, n in zip(found.tolist(), made.values(), strict=True) if n == 0)


def flat_set(counts: tuple[int, ...], value: int, origin: str = "real") -> ImageSet:
    """Every pixel of an image is `value` + its row: an image says which it is."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    rows = (value + np.arange(len(labels))).astype(np.uint8)
    images = np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 8, 8)).copy()
    names = tuple(str(c) for c in range(len(counts)))
    return ImageSet(images, labels, names, provenance([f"{origin}{r}" for r in rows], origin=origin))


def test_what_is_drawn_follows_probabilities_and_shares(here) -> None:
    real, made = flat_set((20, 4), 0), flat_set((0, 10), 100, SYNTHETIC)
    mixture = Mixture(real, made, Mix(share=0.3, sampler="balanced"), here, seed=0)
    batch = mixture.draw(20_000)
    value = batch.images[:, 0, 0, 0]
    assert torch.equal(value >= 100, batch.synthetic)
    assert torch.equal(batch.labels == 0, value < 20)
    assert (batch.labels == 1).float().mean() == pytest.approx(0.5, abs=0.015)
    assert batch.synthetic[batch.labels == 1].float().mean() == pytest.approx(0.3, abs=0.015)
    assert not batch.synthetic[batch.labels == 0].any()
    assert set(value.tolist()) == {*range(24), *range(100, 110)}
    assert float((mixture.class_probabilities * mixture.shares).sum()) == pytest.approx(0.15)


def test_arms_of_a_seed_are_paired(here) -> None:
    """Another share changes which items are synthetic, not the classes nor the real images drawn."""
    real, made = flat_set((20, 4), 0), flat_set((0, 10), 100, SYNTHETIC)
    mix = Mix(sampler="balanced")
    plain = Mixture(real, None, mix, here, seed=7)
    mixed = Mixture(real, made, mix.model_copy(update={"share": 0.3}), here, seed=7)
    for _ in range(3):
        a, b = plain.draw(64), mixed.draw(64)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.images[~b.synthetic], b.images[~b.synthetic])


def test_after_until_only_real_images_come(here) -> None:
    """Pretraining on synthetic images: the same classes and draws, but for the origin."""
    real, made = flat_set((20, 4), 0), flat_set((10, 10), 100, SYNTHETIC)
    mixture = Mixture(real, made, Mix(share=1.0, until=0.5, sampler="balanced"), here, seed=0)
    assert mixture.draw(64, 0.0).synthetic.all() and mixture.draw(64, 0.49).synthetic.all()
    assert not mixture.draw(64, 0.5).synthetic.any() and not mixture.draw(64, 0.99).synthetic.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_a_uniform_number_next_to_one_stays_inside(seed: int) -> None:
    rows = ClassRows(flat_set((3, 5), 0))
    u = torch.full((8,), 1 - 2**-53, dtype=torch.float64)
    labels = torch.randint(0, 2, (8,), generator=torch.Generator().manual_seed(seed))
    assert torch.equal((rows.pick(labels, u) >= 3).long(), labels)


def test_transform_is_named_where_it_does_not_exist() -> None:
    with pytest.raises(ValueError, match="unknown transform 'lihgt'"):
        Mix(transform="lihgt")


def test_an_objective_is_of_what_is_drawn(here) -> None:
    real, made = flat_set((30, 10), 0), flat_set((0, 20), 100, SYNTHETIC)
    even = Mixture(real, made, Mix(weights="balanced"), here, seed=0)
    assert even.objective.weights.tolist() == pytest.approx([1, 1])  # 30 of each are drawn
    alone = Mixture(real, None, Mix(weights="balanced"), here, seed=0)
    assert alone.objective.weights.tolist() == pytest.approx([4 / 6, 2])


@pytest.mark.parametrize("power", [1.0, 2.0, -1.0])
def test_preferred_images_come_in_proportion_to_the_checks_value(here, power) -> None:
    real, made = flat_set((4, 4), 0), flat_set((0, 4), 100, SYNTHETIC)
    values = np.array([0.2, 0.4, 0.6, 0.8])
    ids = list(made.table["id"])
    # The table of checks is by id, in any order.
    checks = pd.DataFrame({"id": ids[::-1], "agreement": values[::-1]})
    weighted = mixing.preferred(made, checks, Prefer(check="agreement", power=power))
    assert weighted.table["weight"].mean() == pytest.approx(1)
    mixture = Mixture(real, weighted, Mix(share=1.0, sampler="balanced"), here, seed=0)
    batch = mixture.draw(40_000)
    drawn = batch.images[batch.synthetic][:, 0, 0, 0].long() - 100
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares.tolist() == pytest.approx((values**power / (values**power).sum()).tolist(), abs=0.015)


def test_values_that_are_not_finite_prefer_nothing_absurd() -> None:
    made = flat_set((0, 3), 100, SYNTHETIC)
    checks = pd.DataFrame({"id": made.table["id"], "duplicates": [np.inf, 2.0, 0.0]})
    for power in (1.0, -1.0):
        weights = mixing.preferred(made, checks, Prefer(check="duplicates", power=power)).table["weight"]
        assert np.isfinite(weights).all() and (weights >= 0).all()


def test_a_blend_of_two_origins_has_no_norms() -> None:
    with pytest.raises(ValueError, match="norms_apart: true needs blend: none"):
        Mix(norms_apart=True, blend="mixup")


def test_a_class_that_lacks_one_image_is_not_half_synthetic() -> None:
    """However large the share, one synthetic image comes at most ten times as often as a real one of its class."""
    found = mixing.shares({0: 146, 1: 100, 2: 40}, {0: 1, 1: 10, 2: 600}, Mix(share=0.5), NAMES)
    one = found[0] / 1
    assert float(one) == pytest.approx(10 * float(1 - found[0]) / 146)
    assert found.tolist() == pytest.approx([10 / 156, 0.5, 0.5])
    assert mixing.shares({0: 146}, {0: 1}, Mix(share=1.0), NAMES).tolist() == [1.0]
    assert mixing.shares({0: 146}, {0: 0}, Mix(share=1.0), NAMES).tolist() == [0.0]


def test_class_weights_count_synthetic_images_at_their_weight(here) -> None:
    """Real 60 and 20, 40 made: at a weight of .1 the second class is drawn half of the time,
    and still weighs the same.
    """
    real, made = flat_set((60, 20), 0), flat_set((0, 40), 100, SYNTHETIC)
    for weight in (1.0, 0.5, 0.1):
        mix = Mix(weights="balanced", synthetic_weight=weight)
        mixture = Mixture(real, made, mix, here, seed=0)
        p, s = mixture.class_probabilities, mixture.shares
        masses = p * (1 + s * (weight - 1)) * mixture.objective.weights
        assert (masses / masses.sum()).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_soft_labels_are_on_average_what_the_classifier_says(here, share) -> None:
    """Of each synthetic image: `share` of the label by its probabilities, the rest the class it was made for."""
    real, made = flat_set((4, 4, 4), 0), flat_set((0, 0, 2), 100, SYNTHETIC)
    said = torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.0, 1.0]])
    mix = Mix(share=1.0, sampler="balanced", soft=share)
    batch = Mixture(real, made, mix, here, seed=0, soft_labels=said).draw(60_000)
    hard = Mixture(real, made, mix.model_copy(update={"soft": 0.0}), here, seed=0).draw(60_000)
    assert torch.equal(batch.images, hard.images) and torch.equal(batch.synthetic, hard.synthetic)
    assert torch.equal(batch.labels[~batch.synthetic], hard.labels[~hard.synthetic])
    which = batch.images[:, 0, 0, 0].long() - 100
    for row in (0, 1):
        own = batch.labels[batch.synthetic & (which == row)]
        found = torch.bincount(own, minlength=3) / len(own)
        wanted = share * said[row] + (1 - share) * torch.tensor([0.0, 0.0, 1.0])
        assert found.tolist() == pytest.approx(wanted.tolist(), abs=0.02)


def test_soft_labels_need_the_classifiers_word(here) -> None:
    real, made = flat_set((4, 4), 0), flat_set((0, 2), 100, SYNTHETIC)
    with pytest.raises(ValueError, match="need the real-only classifier"):
        Mixture(real, made, Mix(soft=0.5), here, seed=0)
