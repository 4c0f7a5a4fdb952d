from __future__ import annotations

import numpy as np
import torch
from contracts import fresh, steps

from augpipe import synthesis
from augpipe.store import Store, load_images


def test_the_plan_is_met_streamed_and_repeatable(here, make_shapes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(synthesis, "AT_ONCE", 7)
    train = make_shapes((10, 4, 6))
    generator = fresh("acgan", train, here)
    steps(generator, train, 2)
    plan = {1: 20, 2: 11}
    refs = [
        synthesis.sample(generator, plan, train, name="g", seed=3, store=Store(tmp_path))
        for _ in range(2)
    ]
    assert refs[0] == refs[1]
    made = load_images(refs[0])
    assert made.counts() == {0: 0, 1: 20, 2: 11} and made.classes == train.classes
    assert set(made.table["origin"]) == {"synthetic"} and set(made.table["source"]) == {"g"}
    assert len(set(made.table["id"])) == 31
    # From noise: no parent, a group of its own.
    assert set(made.table["parent"]) == {""} and (made.table["group"] == made.table["id"]).all()


def test_a_synthetic_image_belongs_to_the_group_of_its_parent(here, make_shapes, tmp_path) -> None:
    train = make_shapes((10, 6))
    train.table["group"] = [f"patient{row % 5}" for row in range(16)]
    made = load_images(
        synthesis.sample(
            fresh("smote", train, here), {1: 30}, train, name="s", seed=0, store=Store(tmp_path)
        )
    )
    group_of = dict(zip(train.table["id"], train.table["group"], strict=True))
    label_of = dict(zip(train.table["id"], train.labels, strict=True))
    assert [group_of[p] for p in made.table["parent"]] == made.table["group"].tolist()
    assert {label_of[p] for p in made.table["parent"]} == {1}


def test_an_empty_plan_is_an_empty_set(here, make_shapes, tmp_path) -> None:
    train = make_shapes((5, 5))
    ref = synthesis.sample(
        fresh("acgan", train, here), {}, train, name="g", seed=0, store=Store(tmp_path)
    )
    assert len(load_images(ref)) == 0


def test_draw_says_minus_one_where_images_come_from_noise(here, make_shapes) -> None:
    made = synthesis.draw(
        fresh("acgan", make_shapes((5, 5)), here), torch.tensor([0, 1]), torch.Generator()
    )
    assert np.array_equal(made.parents.numpy(), [-1, -1])
