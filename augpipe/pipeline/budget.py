"""Fit the numbers of an experiment into the time there is, in a fixed order of sacrifice.

Nothing is measured here: `fit` gets the expected seconds of any numbers as a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from augpipe.core.errors import UserError

DEFAULT: Final = "30m"  # of a run on images without --budget
QUICK: Final = "5m"  # of --quick, which has no confirm stage
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TIME: Final = re.compile(r"(?=.)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")

STANDARD_SEEDS: Final = 3  # of the explore stage
MOST_SEEDS: Final = 5
MOST_REPLICATES, STANDARD_REPLICATES, LEAST_REPLICATES = 20, 10, 5  # of the confirm stage
GOOD_KIMG, LEAST_KIMG = 30.0, 8.0
GOOD_STEPS, LEAST_STEPS = 300, 100
SIZES: Final = (64, 48, 32)  # pixels; larger ones are the user's, and stay
DROPPED: Final = ("cgan", "smote", "balanced", "mixup+classic")  # arms, in the order they are left out
FACTOR: Final = 0.8  # of one step down to the next, for kimg and steps


class Budget(NamedTuple):
    """Seconds, as the user wrote them, and whether the user did."""

    seconds: float
    text: str
    explicit: bool = True


def parse(text: str, explicit: bool = True) -> Budget:
    """`90s`, `10m`, `2h`, `1h30m` → Budget; UserError for anything else."""
    match = _TIME.fullmatch(text.strip())
    seconds = (
        sum(float(value or 0) * unit for value, unit in zip(match.groups(), _UNITS.values(), strict=True))
        if match
        else 0.0
    )
    if not seconds:
        raise UserError(f"--budget takes a time such as 90s, 10m, 2h or 1h30m; got {text!r}")
    return Budget(seconds, text.strip(), explicit)


def duration(seconds: float) -> str:
    """`40 s`, `4.5 min`, `12 min`, `1 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.{0 if seconds >= 600 else 1}f} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min"


@dataclass(frozen=True)
class Numbers:
    """What a budget decides: the more of each, the longer the run."""

    seeds: int
    gan_train: bool
    kimg: float  # thousands of images shown to each trained generator
    steps: int  # of a classifier
    size: int  # side of the images, in pixels
    arms: tuple[str, ...]
    replicates: int  # of the confirm stage, at most; 0: the run has none


class Sacrifice(NamedTuple):
    """One row of the order: its name in the documentation, and the numbers that it leads to, one after the other."""

    what: str
    down: Callable[[Numbers, Collection[str]], Iterator[Numbers]]


def _fewer_seeds(least: int) -> Callable[[Numbers, Collection[str]], Iterator[Numbers]]:
    def down(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
        for seeds in range(numbers.seeds - 1, least - 1, -1):
            yield replace(numbers, seeds=seeds)

    return down


def _fewer_replicates(*values: int) -> Callable[[Numbers, Collection[str]], Iterator[Numbers]]:
    def down(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
        for replicates in values:
            if replicates < numbers.replicates:
                numbers = replace(numbers, replicates=replicates)
                yield numbers

    return down


def _no_confirm(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
    """Without the stage, its time goes to the usual seeds of a first look: one seed alone would show no spread."""
    if numbers.replicates:
        yield replace(numbers, replicates=0, seeds=max(numbers.seeds, STANDARD_SEEDS))


def _no_gan_train(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
    if numbers.gan_train:
        yield replace(numbers, gan_train=False)


def _less_kimg(least: float) -> Callable[[Numbers, Collection[str]], Iterator[Numbers]]:
    def down(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
        kimg = numbers.kimg
        while kimg > least:
            kimg = max(least, float(f"{FACTOR * kimg:.2g}"))
            yield replace(numbers, kimg=kimg)

    return down


def _fewer_steps(least: int) -> Callable[[Numbers, Collection[str]], Iterator[Numbers]]:
    def down(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
        steps = numbers.steps
        while steps > least:
            steps = max(least, int(float(f"{FACTOR * steps:.2g}")))
            yield replace(numbers, steps=steps)

    return down


def _fewer_arms(numbers: Numbers, needed: Collection[str]) -> Iterator[Numbers]:
    arms = numbers.arms
    for name in DROPPED:
        if name in arms and name not in needed:
            arms = tuple(arm for arm in arms if arm != name)
            yield replace(numbers, arms=arms)


# Done for each size from the largest on, before the next smaller one.
AT_EACH_SIZE: Final = (
    Sacrifice("kimg of the generators", _less_kimg(GOOD_KIMG)),
    Sacrifice("steps of the classifiers", _fewer_steps(GOOD_STEPS)),
)
FIRST: Final = (
    Sacrifice("seeds beyond the usual", _fewer_seeds(STANDARD_SEEDS)),
    Sacrifice("replicates beyond the usual", _fewer_replicates(STANDARD_REPLICATES)),
    Sacrifice("GAN-train", _no_gan_train),
)
LAST: Final = (
    Sacrifice("arms", _fewer_arms),
    Sacrifice("replicates of the confirm stage", _fewer_replicates(8, 6, LEAST_REPLICATES)),
    Sacrifice("seeds of the explore stage", _fewer_seeds(1)),
    # Before kimg and steps below what is good: a verdict on nets that are hardly trained would not hold for others.
    Sacrifice("the confirm stage", _no_confirm),
    Sacrifice("seeds of the first look", _fewer_seeds(1)),
    Sacrifice("kimg below what is good", _less_kimg(LEAST_KIMG)),
    Sacrifice("steps below what is good", _fewer_steps(LEAST_STEPS)),
)


def ladder(wish: Numbers, needed: Collection[str] = (), sizes: Collection[int] = SIZES) -> list[Numbers]:
    """The wish, and ever less, in the order of sacrifice.

    needed: arms that stay. sizes: those that the images may have instead.
    """
    rungs = [wish]
    for sacrifice in FIRST:
        rungs += sacrifice.down(rungs[-1], needed)
    for size in (wish.size, *(s for s in SIZES if s in sizes and s < wish.size)):
        if size < wish.size:
            rungs.append(replace(rungs[-1], size=size, kimg=wish.kimg, steps=wish.steps))
        for sacrifice in AT_EACH_SIZE:
            rungs += sacrifice.down(rungs[-1], needed)
    for sacrifice in LAST:
        rungs += sacrifice.down(rungs[-1], needed)
    return rungs


def fit(rungs: Sequence[Numbers], seconds: Callable[[Numbers], float], budget: float) -> Numbers:
    """The first numbers that are expected to take at most `budget` seconds; the last if none do."""
    return next((numbers for numbers in rungs if seconds(numbers) <= budget), rungs[-1])
