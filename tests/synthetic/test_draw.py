from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from contracts import fresh, steps
from numpy.typing import NDArray

from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store, load_images, load_table
from augpipe.generators.protocol import Derived
from augpipe.synthetic import draw as synthesis

Rows = NDArray[np.int64]


def test_the_plan_is_met_streamed_and_repeatable(here, make_shapes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(synthesis, "AT_ONCE", 7)
    train = make_shapes((10, 4, 6))
    generator = fresh("acgan", train, here)
    steps(generator, train, 2)
    plan = {1: 20, 2: 11}
    found = [synthesis.sample(generator, plan, train, name="g", seed=3, store=Store(tmp_path)) for _ in range(2)]
    assert found[0] == found[1] and found[0].short == {}
    made = load_images(found[0].images)
    assert made.counts() == {0: 0, 1: 20, 2: 11} and made.classes == train.classes
    assert set(made.table["origin"]) == {"synthetic"} and set(made.table["source"]) == {"g"}
    assert len(set(made.table["id"])) == 31
    # From noise: no parent, a group of its own.
    assert set(made.table["parent"]) == {""} and (made.table["group"] == made.table["id"]).all()
    told = load_table(found[0].checks)
    assert list(told.columns) == ["id"] and (told["id"] == made.table["id"]).all()


def test_without_a_judge_the_images_are_those_of_one_plain_draw(here, make_shapes, tmp_path) -> None:
    train = make_shapes((10, 4, 6))
    for family in ("acgan", "smote"):
        generator = fresh(family, train, here)
        steps(generator, train, 2)
        plan = {2: 5, 0: 3, 1: 0}  # in class order, whatever the plan's
        found = synthesis.sample(generator, plan, train, name="g", seed=4, store=Store(tmp_path))
        labels = torch.tensor([0] * 3 + [2] * 5)
        plain = synthesis.draw(generator, labels, torch_stream(4, "synthesis"))
        made = load_images(found.images)
        assert np.array_equal(made.images, plain.images.numpy())
        assert np.array_equal(made.labels, labels.numpy())


def test_a_synthetic_image_belongs_to_the_group_of_its_parent(here, make_shapes, tmp_path) -> None:
    train = make_shapes((10, 6))
    train.table["group"] = [f"patient{row % 5}" for row in range(16)]
    found = synthesis.sample(fresh("smote", train, here), {1: 30}, train, name="s", seed=0, store=Store(tmp_path))
    made = load_images(found.images)
    group_of = dict(zip(train.table["id"], train.table["group"], strict=True))
    label_of = dict(zip(train.table["id"], train.labels, strict=True))
    assert [group_of[p] for p in made.table["parent"]] == made.table["group"].tolist()
    assert {label_of[p] for p in made.table["parent"]} == {1}


def test_an_empty_plan_is_an_empty_set(here, make_shapes, tmp_path) -> None:
    train = make_shapes((5, 5))
    for curator in (None, Picky(every=2)):
        found = synthesis.sample(
            fresh("acgan", train, here), {}, train, name="g", seed=0, store=Store(tmp_path), curator=curator
        )
        assert len(load_images(found.images)) == 0 and found.short == {}
        assert len(load_table(found.checks)) == 0


def test_draw_says_minus_one_where_images_come_from_noise(here, make_shapes) -> None:
    made = synthesis.draw(fresh("acgan", make_shapes((5, 5)), here), torch.tensor([0, 1]), torch.Generator())
    assert np.array_equal(made.parents.numpy(), [-1, -1])


@dataclass
class Numbered:
    """Every image it makes has a number of its own in its pixels; its parent is a train row of that class."""

    shape: tuple[int, int, int]
    first: dict[int, int]  # class → its first train row
    made: int = 0
    asked: list[Rows] = field(default_factory=list)

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        number = torch.arange(self.made, self.made + len(labels))
        self.made += len(labels)
        self.asked.append(labels.numpy())
        images = torch.zeros(len(labels), *self.shape, dtype=torch.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = number // 256, number % 256
        images[:, 0, 0, 2] = labels
        parents = torch.tensor([self.first[c] for c in labels.tolist()]) + number % 3
        return Derived(images, parents)


def numbers(images: NDArray[np.uint8]) -> Rows:
    return images[:, 0, 0, 0].astype(np.int64) * 256 + images[:, 0, 0, 1]


@dataclass
class Picky:
    """Lets every n-th image that it sees of a class pass; of the classes in `never` none."""

    every: int
    never: tuple[int, ...] = ()
    rounds: int = 6
    oversample: float = 1.0
    seen: dict[int, int] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)

    def check(self, images: NDArray[np.uint8], labels: Rows) -> tuple[Rows, dict[str, NDArray[np.float32]]]:
        rows = []
        for row, label in enumerate(labels.tolist()):
            self.seen[label] = self.seen.get(label, 0) + 1
            if self.seen[label] % self.every == 0 and label not in self.never:
                rows.append(row)
        values = {"number": numbers(images)[rows].astype(np.float32)}
        return np.array(rows, np.int64), {**values, "twice": 2 * values["number"]}

    def keep(self, images: NDArray[np.uint8], labels: Rows) -> None:
        self.kept += numbers(images).tolist()


@pytest.fixture
def train(make_shapes):
    found = make_shapes((5, 4, 6))
    found.table["group"] = [f"patient{row % 4}" for row in range(15)]
    return found


def numbered(train) -> Numbered:
    return Numbered(train.spec.shape, {0: 0, 1: 5, 2: 9})


@pytest.mark.parametrize("at_once", [5, 1024])
def test_what_a_judge_turns_away_is_drawn_anew(at_once, train, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(synthesis, "AT_ONCE", at_once)
    curator, plan = Picky(every=3, rounds=30), {2: 40, 0: 25}
    found = synthesis.sample(numbered(train), plan, train, name="g", seed=0, store=Store(tmp_path), curator=curator)
    made, told = load_images(found.images), load_table(found.checks)
    assert found.short == {} and made.counts() == {0: 25, 1: 0, 2: 40}
    assert np.array_equal(made.labels, np.repeat([0, 2], [25, 40]))
    _right(made, told, train, curator)


def test_what_cannot_be_filled_is_short_and_the_rest_is_right(train, tmp_path) -> None:
    """In 2 rounds a third of them is not enough; of class 1 nothing ever passes."""
    curator, plan = Picky(every=3, never=(1,), rounds=2), {0: 30, 1: 8, 2: 2}
    generator = numbered(train)
    found = synthesis.sample(generator, plan, train, name="g", seed=0, store=Store(tmp_path), curator=curator)
    made, told = load_images(found.images), load_table(found.checks)
    assert found.short[1] == 8 and found.short == {c: plan[c] - n for c, n in made.counts().items() if plan[c] > n}
    assert 10 <= made.counts()[0] <= 30 and len(made) == sum(made.counts().values())
    _right(made, told, train, curator)


def _right(made, told, train, curator: Picky) -> None:
    """Images in class order, each once, each with the values, the parent and the group that are its own."""
    own = numbers(made.images)
    assert (np.diff(made.labels) >= 0).all() and np.array_equal(made.images[:, 0, 0, 2], made.labels)
    for label in np.unique(made.labels):
        assert (np.diff(own[made.labels == label]) > 0).all()  # the first that passed
    assert made.table["id"].tolist() == [f"g/0/{row}" for row in range(len(made))]
    assert list(told.columns) == ["id", "number", "twice"]
    assert told["id"].tolist() == made.table["id"].tolist()
    assert np.array_equal(told["number"], own) and np.array_equal(told["twice"], 2 * own)
    assert {told["number"].dtype, told["twice"].dtype} == {np.dtype("float32")}
    parents = np.array([0, 5, 9])[made.labels] + own % 3
    assert made.table["parent"].tolist() == train.table["id"].iloc[parents].tolist()
    assert made.table["group"].tolist() == train.table["group"].iloc[parents].tolist()
    assert sorted(curator.kept) == sorted(own.tolist()), "what is remembered is what was taken"


def test_a_round_draws_what_is_missing_over_the_share_kept(train, tmp_path) -> None:
    curator, generator = Picky(every=2, rounds=20, oversample=1.5), numbered(train)
    found = synthesis.sample(generator, {0: 20}, train, name="g", seed=0, store=Store(tmp_path), curator=curator)
    # 20 x 1.5, of which 15 stay; then the 5 missing x 1.5 over a half.
    assert [len(labels) for labels in generator.asked] == [30, 15] and found.short == {}


@pytest.mark.parametrize("every", [3, 50, 10**9])
def test_candidates_are_bounded(every: int, train, tmp_path) -> None:
    curator, generator = Picky(every=every, rounds=4, oversample=2.0), numbered(train)
    found = synthesis.sample(generator, {0: 10, 2: 5}, train, name="g", seed=0, store=Store(tmp_path), curator=curator)
    made = load_images(found.images).counts()
    assert made == {0: 10 - found.short.get(0, 0), 1: 0, 2: 5 - found.short.get(2, 0)}
    drawn = np.bincount(np.concatenate(generator.asked), minlength=3)
    most = 1 / synthesis.LEAST_RATE
    assert drawn[1] == 0 and drawn[0] <= 20 * (1 + 3 * most) and drawn[2] <= 10 * (1 + 3 * most)
    if every == 3:
        assert found.short == {} and drawn.sum() < 150


def test_a_class_of_which_nothing_ever_passes_is_given_up(train, tmp_path) -> None:
    curator, generator = Picky(every=1, never=(2,), rounds=50), numbered(train)
    found = synthesis.sample(generator, {0: 60, 2: 60}, train, name="g", seed=0, store=Store(tmp_path), curator=curator)
    assert found.short == {2: 60} and load_images(found.images).counts()[0] == 60
    assert synthesis.HOPELESS <= (np.concatenate(generator.asked) == 2).sum() < 400


def test_with_a_judge_the_same_seed_gives_the_same_bytes(here, make_shapes, tmp_path) -> None:
    train = make_shapes((10, 4, 6))
    generator = fresh("acgan", train, here)
    steps(generator, train, 2)
    found = [
        synthesis.sample(
            generator,
            {0: 10, 2: 15},
            train,
            name="g",
            seed=seed,
            store=Store(tmp_path / place),
            curator=Picky(every=3, rounds=20),
        )
        for place, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    shas = [(one.images.sha256, one.checks.sha256) for one in found]
    assert shas[0] == shas[1] and shas[0][0] != shas[2][0]
    assert load_images(found[0].images).counts() == {0: 10, 1: 0, 2: 15}
