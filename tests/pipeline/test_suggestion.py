"""The arms and numbers that are suggested for the images of a source."""

from __future__ import annotations

from pathlib import Path

from augpipe.pipeline import suggestion
from augpipe.pipeline.defaults import for_source


def test_no_class_is_recognised_by_its_synthetic_images(tmp_path: Path, make_shapes, make_folder) -> None:
    """The same share in every class, the largest too, and images enough of each for it."""
    experiment, _ = for_source(make_folder(tmp_path / "x", make_shapes((60, 12))))
    train = {"c0": 36, "c1": 7}
    for arm in experiment.arms:
        if arm.generator == "cgan":
            assert arm.mix.share == 0.1 and arm.mix.sampler == "balanced"
            assert {c: arm.mix.fill[c] + n for c, n in train.items()} == {"c0": 41, "c1": 41}
            assert experiment.curates(arm)
    large = suggestion._fill_all({0: 30_000, 1: 10}, ("a", "b"))
    assert large == {"a": 400, "b": 400}


def test_a_fill_has_a_bound() -> None:
    train = {0: 30_000, **dict.fromkeys(range(1, 11), 100)}
    names = tuple(f"k{c}" for c in train)
    fill = suggestion._fill(train, names)
    assert sum(fill.values()) <= suggestion.MOST and "k0" not in fill and fill["k3"] == 2000
