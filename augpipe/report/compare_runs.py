"""Compare two finished runs on one test set: is the data the same, which settings differ, and which arms moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import LEVEL, Gain, gain, holm
from augpipe.comparison.explore import verdict
from augpipe.comparison.units import Units
from augpipe.core.errors import UserError, several
from augpipe.report.run_folder import RunFolder

WORDS: Final = {"better": "up", "worse": "down", "no difference shown": "not shown to have moved"}
ABSENT: Final = "(not set)"
IGNORED: Final = ("name", "note")  # settings that change no result
COUNTED: Final = ("fingerprint", "source images", "classes", "image", "train", "val", "test")


@dataclass(frozen=True)
class Moved:
    """One arm in both runs. means: macro recall on test of the first and the second run, over `change`'s seeds.

    change: second minus first, with p corrected over all arms. label: up, down, or why neither is shown.
    """

    arm: str
    means: tuple[float, float]
    change: Gain
    label: str


@dataclass(frozen=True)
class RunsCompared:
    """The comparison of two runs. data, settings, versions: what differs, as (name, in the first, in the second).

    paired: the seeds that both runs have; without any, seeds are paired in their order.
    """

    first: RunFolder
    second: RunFolder
    data: tuple[tuple[str, str, str], ...]
    settings: tuple[tuple[str, str, str], ...]
    versions: tuple[tuple[str, str, str], ...]
    arms: tuple[Moved, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]  # arms of the first, and of the second run alone
    paired: tuple[int, ...]

    def sentence(self) -> str:
        """What moved, in one line."""
        moved = [f"{one.arm} {one.label}" for one in self.arms if one.label in ("up", "down")]
        if moved:
            return f"{several(len(moved), 'arm')} of {len(self.arms)} moved: {', '.join(moved)}."
        return f"No arm of {len(self.arms)} is shown to have moved."

    def values(self) -> dict[str, Any]:
        """For JSON."""
        differing = {
            what: [{"name": name, "first": a, "second": b} for name, a, b in rows]
            for what, rows in (("data", self.data), ("settings", self.settings), ("versions", self.versions))
        }
        return {
            "first": str(self.first.folder),
            "second": str(self.second.folder),
            "sentence": self.sentence(),
            **differing,
            "arms": {
                one.arm: {
                    "first": one.means[0],
                    "second": one.means[1],
                    "change": one.change.interval.mean,
                    "low": one.change.interval.low,
                    "high": one.change.interval.high,
                    "p_holm": one.change.p_holm,
                    "moved": one.label,
                }
                for one in self.arms
            },
            "only_first": list(self.only[0]),
            "only_second": list(self.only[1]),
            "seeds": list(self.paired),
            "level": LEVEL,
        }


def compare_runs(first: RunFolder, second: RunFolder) -> RunsCompared:
    """Compare two runs; UserError unless they have one test set, and an arm in common."""
    _check_test_set(first, second)
    common = [arm for arm in first.right if arm in second.right]
    if not common:
        raise UserError(
            f"no arm is in both runs: {first.folder} has {', '.join(first.right)}; {second.folder} has "
            f"{', '.join(second.right)}"
        )
    paired = tuple(seed for seed in first.seeds if seed in second.seeds)
    rows = _rows(first, second, paired)
    units = Units(np.unique(first.true.astype(str), return_inverse=True)[1], first.groups)
    moved = [_moved(arm, first.right[arm][rows[0]], second.right[arm][rows[1]], units) for arm in common]
    corrected = holm([one.change.p for one in moved])
    arms = []
    for one, p in zip(moved, corrected, strict=True):
        decided = verdict(one.change.interval, p, len(rows[0]), units)
        change = replace(one.change, p_holm=p, verdict=decided)
        arms.append(replace(one, change=change, label=WORDS.get(decided, decided)))
    return RunsCompared(
        first,
        second,
        tuple(_differing(_data(first), _data(second))),
        tuple(_differing(_settings(first), _settings(second))),
        tuple(_differing(first.summary["versions"], second.summary["versions"])),
        tuple(arms),
        (tuple(set_minus(first.right, common)), tuple(set_minus(second.right, common))),
        paired,
    )


def _check_test_set(first: RunFolder, second: RunFolder) -> None:
    for run in (first, second):
        if run.summary["resplit"]:
            raise UserError(
                f"{run.folder} draws a split for each seed (resplit); compare-runs needs one test set in both runs"
            )
    one, other = (dict(zip(run.ids, run.true, strict=True)) for run in (first, second))
    if one == other:
        return
    both = sum(other.get(name) == label for name, label in one.items())
    raise UserError(
        f"the runs were scored on different test sets: {both} of {len(one)} test images of {first.folder} are among "
        f"the {len(other)} of {second.folder}; use the same source, classes and split in both"
    )


def _rows(first: RunFolder, second: RunFolder, paired: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Rows of `right` that are compared: those of the common seeds, else the first ones of both."""
    if paired:
        return [first.seeds.index(s) for s in paired], [second.seeds.index(s) for s in paired]
    n = min(len(first.seeds), len(second.seeds))
    return list(range(n)), list(range(n))


def _moved(arm: str, before: NDArray[np.bool_], after: NDArray[np.bool_], units: Units) -> Moved:
    change = gain(arm, "before", {"before": before, arm: after}, units)
    means = tuple(float(units.mean(right.astype(np.float64)).mean()) for right in (before, after))
    return Moved(arm, (means[0], means[1]), change, "")


def set_minus(names: Mapping[str, Any], common: list[str]) -> list[str]:
    """Names that are not in `common`, in their order."""
    return [name for name in names if name not in common]


def _data(run: RunFolder) -> dict[str, Any]:
    data = run.summary["data"]
    counts = {split: _shown(per) for split, per in data["counts"].items()}
    values = {
        "fingerprint": data["fingerprint"],
        "source images": data["intake"]["fingerprint"],
        "classes": data["classes"],
        "image": data["image"],
        **counts,
    }
    return {name: values[name] for name in COUNTED}


def _settings(run: RunFolder) -> dict[str, Any]:
    return {key: value for key, value in run.settings.items() if key not in IGNORED}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys([*one, *other]):
        if (name in one) != (name in other) or one.get(name) != other.get(name):
            yield name, _text(one, name), _text(other, name)


def _text(values: Mapping[str, Any], name: str) -> str:
    return _shown(values[name]) if name in values else ABSENT


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
