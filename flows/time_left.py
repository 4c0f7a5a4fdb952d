"""How long a run will take, from its tasks that have ended and those that are running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

SCORES: Final = "scores"
REFERENCES: Final = "reference classifiers"
GENERATORS: Final = "generators"
CLASSIFIERS: Final = "classifiers"
SEARCHES: Final = "searches"
LONG: Final = (REFERENCES, GENERATORS, CLASSIFIERS, SEARCHES)  # others hardly count while unknown
# Function of a stage → what users call it.
STAGES: Final = {
    "train_reference": REFERENCES,
    "train_generator": GENERATORS,
    "join_generators": GENERATORS,
    "synthesize": "synthetic images",
    "pool": "synthetic images",
    "measure": "fidelity",
    "measure_synthetic": "fidelity",
    "choose": SEARCHES,
    "mix": "mixes",
    "train_classifier": CLASSIFIERS,
    "train_head": CLASSIFIERS,
    "score": SCORES,
}

Key = tuple[str, str]  # a stage, and the generator's name where tasks of a stage differ by it


def key_of(values: Mapping[str, Any]) -> Key:
    """The key of a task that reports."""
    stage = STAGES.get(values["stage"], str(values["stage"]))
    # The title of a training: its generator's name, which has no comma, and more.
    return stage, str(values["name"]).partition(",")[0] if stage == GENERATORS else ""


@dataclass(frozen=True)
class Current:
    """A running task: its key, seconds so far,
    and by its own speed those of a whole one like it and those it still needs.
    """

    key: Key
    spent: float
    whole: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class Left:
    """Seconds that a run still needs; complete: whether every long stage is in them."""

    seconds: float
    complete: bool


class Remaining:
    """The tasks that have not ended, and how long those took that have."""

    def __init__(self, tasks: Sequence[Key]) -> None:
        self._open = Counter(tasks)
        self._took: dict[Key, list[float]] = {}
        self._parallel = 1  # the most tasks that ran at a time

    def finish(self, key: Key) -> None:
        """A task has ended."""
        self._open[key] -= 1

    def measured(self, key: Key, seconds: float) -> None:
        """A task took so long."""
        self._took.setdefault(key, []).append(seconds)

    def seconds(self, running: Sequence[Current]) -> Left | None:
        """Time left, with the running tasks; None while nothing is known."""
        self._parallel = max(self._parallel, len(running))
        times: dict[Key, list[float]] = {key: list(took) for key, took in self._took.items()}
        for one in running:
            if one.whole is not None:
                times.setdefault(one.key, []).append(one.whole)
        total, complete, known = 0.0, True, False
        for key, n in self._open.items():
            each = _expected(key, times)
            if each is not None:
                total, known = total + n * each, known or n > 0
            elif n > 0 and key[0] in LONG:
                complete = False
        if not known:
            return None
        for one in running:
            each = _expected(one.key, times) or 0.0
            left = one.left if one.left is not None else max(0.0, each - one.spent)
            total -= each - left
        return Left(max(0.0, total) / self._parallel, complete)


def _expected(key: Key, times: Mapping[Key, Sequence[float]]) -> float | None:
    """Seconds of a task: of its key, else of its stage;
    an arm's classifier is trained as the reference classifier is.
    """
    if key in times:
        return fmean(times[key])
    same = [took for (stage, _), some in times.items() if stage == key[0] for took in some]
    if same:
        return fmean(same)
    return _expected((REFERENCES, ""), times) if key[0] == CLASSIFIERS else None
