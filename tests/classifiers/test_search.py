"""Successive halving on val: what goes on, what it costs, and that it finds the best where val can tell."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import Work, make_work

from augpipe.classifiers import search as searching
from augpipe.classifiers import train as classification
from augpipe.classifiers.options import Mix
from augpipe.classifiers.search import (
    PARTS,
    SHARES,
    Candidate,
    Seen,
    candidates,
    class_by_class,
    halve,
    joins,
    rows_of,
    steps_of,
)
from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.records import Prepared, Synthetic
from augpipe.pipeline.stages.mix import search_steps


def filled(work: Work, plan: dict[int, int] | None = None) -> tuple[Prepared, Arm, Synthetic, Ref]:
    """The arm of SMOTE with its images, by its own plan or another, and the reference classifier."""
    prepared = work.prepare()
    reference = work.reference(prepared)
    generator = work.generator(prepared, reference, "smote")
    asked = work.plan(prepared, "smote") if plan is None else plan
    synthetic = work.synthetic(prepared, reference, generator, asked, False)
    return prepared, work.arm("smote"), synthetic, reference


def test_candidates_are_what_a_mix_leaves_open() -> None:
    assert candidates(Mix(share="auto")) == [Candidate(s, 1.0) for s in SHARES]
    assert candidates(Mix(fill="search", share=0.3)) == [Candidate(0.3, p) for p in PARTS]
    both = candidates(Mix(fill="search", share="auto"))
    assert len(both) == len(set(both)) == len(SHARES) * len(PARTS)
    assert candidates(Mix(share=0.2)) == [Candidate(0.2, 1.0)]
    assert not Mix(share=0.2).searches and Mix(share="auto").searches
    # None at all is no choice: the arm would be its own baseline and yet be called generative.
    assert candidates(Mix(share="per_class")) == [Candidate(s, 1.0) for s in SHARES]
    assert Mix(share="per_class").searches and not Mix(share={"a": 0.1}).searches
    assert candidates(Mix(share={"a": 0.1})) == [Candidate({"a": 0.1}, 1.0)]


def test_halving_by_hand() -> None:
    """Five candidates at a quarter of the steps, the better two at half, one left."""
    open_ = [Candidate(s, 1.0) for s in SHARES]
    asked = []

    def attempt(candidate: Candidate, steps: int) -> Seen:
        asked.append((candidate.share, steps))
        # The second is best at first; with more steps the third is.
        return Seen({0.1: 0.9, 0.2: 0.8 + 0.2 * (steps > 100)}.get(candidate.share, 0.5), 1.0)

    best, tried = halve(open_, 400, attempt)
    assert best.share == 0.2
    assert asked == [(s, 100) for s in SHARES] + [(0.1, 200), (0.2, 200)]
    assert [(t.rung, t.candidate.share) for t in tried if t.stayed] == [(0, 0.1), (0, 0.2), (1, 0.2)]
    assert steps_of(open_, 400) == 5 * 100 + 2 * 200


def test_each_class_gets_the_share_at_which_val_saw_it_best() -> None:
    """By hand: of equal recalls the smaller share, and only of the part that the best candidate has."""
    seen = [
        (Candidate(0.3, 1.0), Seen(0.8, 1.0, {"a": 0.9, "b": 0.7, "c": 0.6})),
        (Candidate(0.05, 1.0), Seen(0.7, 1.0, {"a": 0.9, "b": 0.5, "c": 0.8})),
        (Candidate(0.1, 1.0), Seen(0.6, 1.0, {"a": 0.2, "b": 0.6, "c": 0.7})),
        (Candidate(0.5, 0.5), Seen(0.5, 1.0, {"a": 1.0, "b": 1.0, "c": 1.0})),
    ]
    assert class_by_class(seen) == Candidate({"a": 0.05, "b": 0.3, "c": 0.05}, 1.0)


@pytest.mark.parametrize("together", [True, False])
def test_shares_class_by_class_win_where_val_sees_that_they_are_better(together: bool) -> None:
    """Two classes want different shares. What is put together is tried like any other, and no more often."""
    best_of = {"a": 0.05, "b": 0.5}

    def attempt(candidate: Candidate, steps: int) -> Seen:
        if isinstance(candidate.share, Mapping):
            return Seen(0.9 if together else 0.1, 0.0, {})
        asked.append(steps)
        told = {name: 0.8 - abs(float(candidate.share) - s) for name, s in best_of.items()}
        return Seen(sum(told.values()) / 2, 0.0, told)

    asked: list[int] = []
    mix = Mix(share="per_class")
    open_ = candidates(mix)
    best, tried = halve(open_, 400, attempt, joins(mix))
    assert [t.steps for t in tried] == [100] * 5 + [200] * 2
    assert sum(t.steps for t in tried) == steps_of(open_, 400, joins(mix))
    assert [t.candidate.share for t in tried if isinstance(t.candidate.share, Mapping)] == [best_of]
    assert (best.share == best_of) == together


def test_equal_recalls_are_told_apart_by_the_loss() -> None:
    open_ = [Candidate(s, 1.0) for s in SHARES]
    best, _ = halve(open_, 100, lambda c, n: Seen(0.5, -float(c.share)))
    assert best.share == max(SHARES)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 15), st.integers(1, 2000), st.integers(0, 1000))
def test_the_best_is_found_where_val_can_tell_within_the_budget(n: int, steps: int, seed: int) -> None:
    open_ = [Candidate(s, p) for p in PARTS for s in SHARES][:n]
    worth = dict(zip(open_, np.random.default_rng(seed).permutation(n) / 20, strict=True))
    best, tried = halve(open_, steps, lambda c, _: Seen(worth[c], 0.0))
    assert worth[best] == max(worth.values())
    assert all(1 <= t.steps <= steps for t in tried)
    # Six whole trainings at most, and each of fewer than 2n attempts is rounded up.
    assert sum(t.steps for t in tried) <= 6 * steps + 2 * n
    assert (n == 1) == (not tried)


def test_a_part_is_the_first_images_of_each_class(make_shapes) -> None:
    made = make_shapes((10, 3, 0))
    assert rows_of(made, 0.5).tolist() == [0, 1, 2, 3, 4, 10, 11]
    assert rows_of(made, 1.0).tolist() == list(range(13))
    assert rows_of(made, 0.01).tolist() == [0, 10]


def test_a_share_that_is_not_yet_chosen_mixes_nothing(here, make_shapes) -> None:
    from augpipe.classifiers.mixing import Mixture

    with pytest.raises(ValueError, match="must be resolved on val"):
        Mixture(make_shapes((5, 5)), make_shapes((0, 5)), Mix(share="auto"), here, seed=0)


def test_an_arm_takes_what_val_chose(tmp_path: Path) -> None:
    """A stage by hand: the choice is in the recipe, the same again, and no other than val's."""
    work = make_work(tmp_path, "arms.smote.mix={fill: search, share: auto}", "classifier.steps=16")
    prepared, arm, made, reference = filled(work)
    chosen = work.choice(prepared, arm, made, reference)
    again = work.but(fresh=True).choice(prepared, arm, made, reference)
    assert (chosen.share, chosen.part, chosen.table) == (again.share, again.part, again.table)
    table = load_table(chosen.table)
    assert chosen.steps == table.steps.sum() == search_steps(arm.mix, work.experiment.classifier.steps)
    last = table[table.rung == table.rung.max()]
    winner = last.sort_values(["val_macro_recall", "val_loss"], ascending=[False, True]).iloc[0]
    assert (float(winner.share), winner.part) == (chosen.share, chosen.part)
    recipe = work.recipe(prepared, arm, made, chosen)
    assert recipe.chosen == {"share": chosen.share, "part": chosen.part, "steps": chosen.steps}
    assert recipe.mix.share == chosen.share
    counts = load_images(made.images).counts()
    assert list(recipe.synthetic_count) == [math.ceil(chosen.part * n) for n in counts.values()]
    trained = work.classifier(prepared, recipe, "smote")
    assert torch.is_tensor(next(iter(load_state(trained.state)["weights"].values())))


def test_an_arm_takes_a_share_for_each_class(tmp_path: Path, monkeypatch) -> None:
    """A stage by hand: what the first round said of each class is what is put together, tried and, if best, mixed.

    Stopped after its first candidate, the search goes on with the second, to the same bytes as an undisturbed one.
    """
    work = make_work(tmp_path, "arms.smote.mix={share: per_class, sampler: balanced}", "classifier.steps=16")
    prepared, arm, made, reference = filled(work)
    train, trainings = classification.train, []

    def stopped(*arguments: Any, **more: Any) -> Any:
        trainings.append(arguments)
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(classification, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        work.choice(prepared, arm, made, reference)
    chosen = work.choice(prepared, arm, made, reference)
    table = load_table(chosen.table)
    assert len(trainings) - 1 == len(table)  # the second one was begun twice
    undisturbed = work.but(fresh=True).choice(prepared, arm, made, reference)
    assert len(trainings) - 1 == 2 * len(table)
    assert undisturbed.table == chosen.table and undisturbed.steps == chosen.steps
    assert json.dumps(undisturbed.share) == json.dumps(chosen.share)
    assert chosen.steps == table.steps.sum() == search_steps(arm.mix, work.experiment.classifier.steps)
    put_together = [json.loads(s) for s in table.share if s.startswith("{")]
    # Of those classes alone that have synthetic images.
    assert {tuple(s) for s in put_together} == {
        tuple(prepared.classes[c] for c, n in load_images(made.images).counts().items() if n)
    }
    assert all(v in SHARES for s in put_together for v in s.values())
    for share in (chosen.share, put_together[0]):
        settled = chosen.model_copy(update={"share": share})
        recipe = work.recipe(prepared, arm, made, settled)
        asked = share if isinstance(share, Mapping) else dict.fromkeys(prepared.classes, share)
        have = zip(recipe.real_count, recipe.synthetic_count, strict=True)
        for name, (real, n), found in zip(prepared.classes, have, recipe.class_share, strict=True):
            # Less where one synthetic image would come over ten times as often as a real one.
            assert found == pytest.approx(min(asked.get(name, 0), 10 * n / (real + 10 * n)))


def test_without_a_synthetic_image_there_is_nothing_to_try(tmp_path: Path) -> None:
    work = make_work(tmp_path, "arms.smote.mix={share: auto}")
    prepared, arm, made, reference = filled(work, {})
    chosen = work.choice(prepared, arm, made, reference)
    assert chosen.steps == 0 and chosen.share == searching.SHARES[0]
    work.recipe(prepared, arm, made, chosen)
