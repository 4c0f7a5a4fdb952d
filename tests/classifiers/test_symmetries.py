"""Mirrors and turns: as part of a transform, and the test of which keep the class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augpipe.classifiers.options import SYMMETRIES, Mix
from augpipe.classifiers.symmetries import ELEMENTS, GROUPS, Symmetries, class_loss, largest_group
from augpipe.classifiers.transforms import transform

PICTURE = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
CHANGED = {name: change(PICTURE)[0] for name, change in ELEMENTS.items()}


@pytest.mark.parametrize("names", [names for names in GROUPS if names], ids="+".join)
def test_a_transform_draws_every_element_of_its_group_equally_often(names: tuple[str, ...]) -> None:
    n, group = 800, [PICTURE[0], *(CHANGED[name] for name in GROUPS[names])]
    images = Symmetries(names, seed=3)(PICTURE.repeat(n, 1, 1, 1))
    counts = [int((images == one).flatten(1).all(1).sum()) for one in group]
    assert sum(counts) == n, "nothing outside the group"
    expected = n / len(group)
    assert max(abs(count - expected) for count in counts) < 4.5 * expected**0.5
    assert torch.equal(images, Symmetries(names, seed=3)(PICTURE.repeat(n, 1, 1, 1)))


def test_the_generated_elements_are_groups() -> None:
    for elements in GROUPS.values():
        members = [PICTURE[0], *(CHANGED[name] for name in elements)]
        for one in elements:
            for other in elements:
                product = ELEMENTS[one](CHANGED[other][None])[0]
                assert any(torch.equal(product, member) for member in members)


def test_the_symmetries_of_a_name_come_before_its_changes() -> None:
    # As the whole plane and both mirrors show: a bright left half is now on the right in half of the images.
    images = torch.zeros(64, 1, 16, 16, dtype=torch.uint8)
    images[..., :8] = 200
    plain, mirrored = (
        transform(name, 1)(images).float()[..., :8].mean((1, 2, 3)) for name in ("light", "light+fliplr")
    )
    assert (plain > 100).all()
    assert 16 < int((mirrored < 100).sum()) < 48
    assert set(SYMMETRIES) == {name for names in GROUPS for name in names}


@pytest.mark.parametrize(
    ("value", "message"),
    [("elastic+flip", "unknown symmetry of a transform 'flip'"), ("elastc+fliplr", "unknown transform 'elastc'")],
)
def test_unknown_names(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mix(transform=value)


def passes(before, after, labels, k) -> bool:
    return class_loss(np.array(before), np.array(after), np.array(labels), k).passed


def test_what_keeps_the_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), (200, 100, 60, 30, 10))
    before = rng.beta(8, 2, len(labels))
    same = rng.beta(8, 2, len(labels))
    assert passes(before, same, labels, 5)
    assert not passes(before, same - 0.15, labels, 5), "all classes a little"
    for twin, noise in ((4, 0.0), (3, 0.2)):  # one class becomes another one, also a rare one
        of = labels == twin
        assert not passes(before, np.where(of, 0.1 + noise * rng.random(len(labels)), same), labels, 5)
    chance = np.full(len(labels), 0.2)
    assert not passes(chance, chance, labels, 5), "a classifier that knows nothing shows nothing"
    assert not passes(before[:5], same[:5], np.arange(5), 5), "one image of each class is too few"
    few = np.repeat(np.arange(2), 4)
    assert not passes(rng.beta(4, 2, 8), rng.beta(4, 2, 8), few, 2), (
        "an uncertain loss is none that is shown to be small"
    )


def test_equal_images_are_seldom_refused_and_swapped_classes_never_kept() -> None:
    rng, refused = np.random.default_rng(1), 0
    labels = np.repeat(np.arange(4), (60, 40, 25, 15))
    for _ in range(200):
        before, after = rng.beta(6, 1.5, (2, len(labels)))
        refused += not passes(before, after, labels, 4)
        assert not passes(before, np.where(labels > 1, 1 - after, after), labels, 4)
    assert refused < 40


def test_the_largest_group() -> None:
    all_passed = dict.fromkeys(ELEMENTS, True)
    assert largest_group(all_passed) == ("fliplr", "rot90")
    assert largest_group({**all_passed, "transpose": False}) == ("fliplr", "flipud")
    assert largest_group({**all_passed, "fliplr": False, "flipud": False}) == ("rot90",)
    assert largest_group({**all_passed, "rot180": False}) == ("fliplr",), "both mirrors make a half turn"
    assert largest_group(dict.fromkeys(ELEMENTS, False)) == ()
