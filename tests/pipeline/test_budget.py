"""Fitting numbers into a budget: the order of sacrifice, and what holds for any costs."""

from __future__ import annotations

import re
from dataclasses import astuple, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.core.errors import UserError
from augpipe.pipeline import budget
from augpipe.pipeline.budget import Numbers, duration, fit, ladder, parse

ARMS = ("real", "balanced", "classic", "mixup+classic", "smote", "cgan", "cgan+classic")
WISH = Numbers(seeds=5, gan_train=True, kimg=120.0, steps=900, size=64, arms=ARMS, replicates=20)
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "fit-the-time.md"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800), (" 5m ", 300)]
)
def test_a_time(text: str, seconds: float) -> None:
    assert parse(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "10 min", "-5m", "0m", "5m1h", "1d"])
def test_no_time(text: str) -> None:
    with pytest.raises(UserError, match="takes a time such as 90s, 10m, 2h or 1h30m; got"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (270, "4.5 min"), (720, "12 min"), (4200, "70 min"), (7260, "2 h 1 min")]
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_order_is_the_documented_one() -> None:
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", HOW_TO.read_text(), re.MULTILINE)
    order = [*budget.FIRST, *budget.AT_EACH_SIZE, "size of the images", *budget.LAST]
    assert rows == [getattr(row, "what", row) for row in order]


def test_each_rung_gives_up_one_thing() -> None:
    """In the order: seeds to 3, replicates to 10, GAN-train, then kimg and steps at each size, then arms, replicates,
    seeds, the confirm stage (with it the seeds come back, for the first look), seeds, and last kimg and steps."""
    rungs = ladder(WISH)
    assert rungs[:5] == [
        WISH,
        replace(WISH, seeds=4),
        replace(WISH, seeds=3),
        replace(WISH, seeds=3, replicates=10),
        replace(WISH, seeds=3, replicates=10, gan_train=False),
    ]
    good = [r for r in rungs if (r.kimg, r.steps, r.seeds, r.replicates) == (30, 300, 3, 10) and r.arms == ARMS]
    assert [r.size for r in good] == [64, 48, 32]
    first_of_size = next(r for r in rungs if r.size == 48)
    assert (first_of_size.kimg, first_of_size.steps) == (WISH.kimg, WISH.steps)
    assert rungs[-1] == Numbers(1, False, 8.0, 100, 32, ("real", "classic", "cgan+classic"), 0)
    last = next(at for at, r in enumerate(rungs) if not r.replicates)
    assert rungs[last - 1] == replace(rungs[last], replicates=5, seeds=1) and rungs[last].seeds == 3
    assert all((r.kimg, r.steps) == (30, 300) for r in rungs[last - 1 : last + 3]), "good nets until then"
    assert {r.seeds for r in rungs[last + 2 :]} == {1} and not any(r.replicates for r in rungs[last:])
    names = ("seeds", "gan_train", "kimg", "steps", "size", "arms", "replicates")
    for before, after in pairwise(rungs):
        changed = {n for n, a, b in zip(names, astuple(before), astuple(after), strict=True) if a != b}
        no_confirm = before.replicates > after.replicates == 0
        assert (
            len(changed) == 1
            or (changed <= {"size", "kimg", "steps"} and "size" in changed)
            or (no_confirm and changed == {"replicates", "seeds"})
        )
        assert after.size < before.size or all(
            getattr(after, n) <= getattr(before, n) for n in names if n != "arms" and not (no_confirm and n == "seeds")
        )


def test_what_is_needed_stays() -> None:
    assert ladder(WISH, ("smote",))[-1].arms == ("real", "classic", "smote", "cgan+classic")
    assert {r.size for r in ladder(WISH, sizes=())} == {64}
    assert {r.size for r in ladder(replace(WISH, size=28))} == {28}


def linear(seed: float, kimg: float, step: float, train: float, confirm: float = 0.0):
    """Seconds of numbers: each costs what it costs, at the square of the size."""

    def seconds(numbers: Numbers) -> float:
        area = (numbers.size / 64) ** 2
        arms = len(numbers.arms) + 2 * numbers.gan_train
        each = kimg * numbers.kimg + step * numbers.steps * arms
        again = 0.1 * numbers.replicates * (kimg * numbers.kimg + 3 * step * numbers.steps) * area
        return 10 + numbers.seeds * (seed + (each + train) * area) + again * confirm

    return seconds


costs = st.builds(linear, *[st.floats(0.001, 20.0)] * 5)


@settings(max_examples=60, deadline=None)
@given(seconds=costs, low=st.floats(1, 2e5), more=st.floats(0, 2e5))
def test_of_any_costs(seconds, low: float, more: float) -> None:
    """Within the budget if the last rung is;
    more time never buys less: not of the run, of the size, of arms or of seeds.
    """
    rungs = ladder(WISH)
    small, large = (fit(rungs, seconds, s) for s in (low, low + more))
    if seconds(rungs[-1]) <= low:
        assert seconds(small) <= low and seconds(small) <= seconds(large) <= low + more
    else:
        assert small in rungs
    assert rungs.index(large) <= rungs.index(small)
    assert large.size >= small.size
    assert large.seeds >= small.seeds or large.replicates > small.replicates == 0
    assert len(large.arms) >= len(small.arms) and large.replicates >= small.replicates
    if large.size == small.size:
        assert large.kimg >= small.kimg and large.steps >= small.steps


def test_an_analytic_case() -> None:
    """1 s a seed, nothing else: 4 seeds fit into 14 s; 2 s for each kimg besides: of 120, 30 fit 3 seeds into 200 s."""
    free = linear(1, 1e-9, 1e-9, 0)
    assert fit(ladder(WISH), free, 14.01).seeds == 4
    shown = linear(0, 2, 1e-9, 0)
    fitted = fit(ladder(WISH), shown, 10 + 3 * 2 * 31)
    assert (fitted.seeds, fitted.kimg, fitted.size, fitted.steps) == (3, 30, 64, 900)
    assert fit(ladder(WISH), shown, 10 + 3 * 2 * 29).size == 48


def test_nothing_fits() -> None:
    assert fit(ladder(WISH), lambda numbers: 1e9, 60) == ladder(WISH)[-1]
