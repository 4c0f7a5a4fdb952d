"""Differences of the two finalists beside the one that is tested:
other metrics and single classes, with joint intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from augpipe.classifiers.scores import minority
from augpipe.comparison.options import LABELS, METRICS, Metric
from augpipe.comparison.paired import Difference, difference, scores
from augpipe.comparison.simultaneous import Simultaneous, simultaneous
from augpipe.comparison.units import Units
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.outputs import outputs, test_labels
from augpipe.pipeline.records import Prepared

CLASSES: Final = 20  # those with the fewest training images


@dataclass(frozen=True)
class Secondary:
    """One difference, in points on test; low, high, p hold for all of them together.

    kind: what `name` is. label: of a class, else None. without, with_generator: means of both arms in percent. images:
    test images that count. remark: what a difference of 0 without any variance rests on.
    """

    kind: Literal["metric", "class"]
    name: str
    label: int | None
    without: float
    with_generator: float
    difference: float
    low: float
    high: float
    p: float
    images: int
    remark: str = ""

    @property
    def title(self) -> str:
        """For readers: `macro F1`, or the class with its number of test images."""
        return LABELS[self.name] if self.kind == "metric" else f"{self.name} ({self.images:,})"

    def summary(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "without_generator": self.without,
            "with_generator": self.with_generator,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "test_images": self.images,
            "remark": self.remark,
        }


# A metric that reads predicted classes, and one that reads probabilities.
METRICS_OF_OUTPUTS: Final[tuple[Metric, Metric]] = ("macro_recall", "macro_auc")


@dataclass(frozen=True)
class _Member:
    """One compared figure: a metric of all classes, or the recall of one. classes: those that the metric reads."""

    metric: Metric
    classes: tuple[int, ...]
    label: int | None = None


def secondary(confirmed: Confirmed) -> tuple[Secondary, ...]:
    """All metrics but the one that is tested, then the recall of the classes with the fewest training images."""
    prepared = next(iter(confirmed.runs.prepared.values()))
    units = Units(*test_labels(confirmed.runs))
    predicted, probable = (_outputs_of_both(confirmed, metric) for metric in METRICS_OF_OUTPUTS)
    members, family, levels = list[_Member](), list[Difference](), list[list[float]]()
    for member in _members(confirmed.outcome.metric, prepared, units):
        pair = probable if member.metric == "macro_auc" else predicted
        name = f"{member.metric} {member.label}"
        family.append(difference(pair[0], pair[1], units, member.metric, member.classes, name))
        levels.append([float(scores(one, units, member.metric, member.classes).mean()) for one in pair])
        members.append(member)
    images = np.bincount(units.labels, minlength=len(prepared.classes))
    rows = zip(members, family, simultaneous(family, units), levels, strict=True)
    return tuple(_row(member, prepared.classes, images, one, joint, both) for member, one, joint, both in rows)


def _row(
    member: _Member,
    classes: Sequence[str],
    images: NDArray[np.int64],
    pair: Difference,
    joint: Simultaneous,
    levels: Sequence[float],
) -> Secondary:
    """images: test images of each class. levels: means in percent with and without synthetic images."""
    n = int(images[list(member.classes)].sum() if member.classes else images.sum())
    single = member.label is not None
    return Secondary(
        kind="class" if single else "metric",
        name=member.metric if member.label is None else classes[member.label],
        label=member.label,
        without=levels[1],
        with_generator=levels[0],
        difference=joint.difference,
        low=joint.low,
        high=joint.high,
        p=joint.p,
        images=n,
        remark=f"{round(pair.alike[0][0] * n)} of {n:,} by both" if single and pair.alike else "",
    )


def _outputs_of_both(confirmed: Confirmed, metric: Metric) -> Sequence[Any]:
    """What the classifiers of both arms predict, as the metric needs it: with and without synthetic images."""
    finalists = confirmed.finalists
    return [
        outputs(confirmed.runs, str(arm), confirmed.classifiers, metric)
        for arm in (finalists.contender, finalists.rival)
    ]


def _members(tested: Metric, prepared: Prepared, units: Units) -> Iterator[_Member]:
    train = prepared.counts["train"]
    rare = tuple(c for c in minority(train) if c in units.of_class)
    for metric in METRICS:
        classes = rare if metric == "minority_recall" else ()
        if metric != tested and (classes or metric != "minority_recall"):
            yield _Member(metric, classes)  # type: ignore[arg-type]
    for label in sorted(units.of_class, key=lambda label: (train[label], label))[:CLASSES]:
        yield _Member("macro_recall", (label,), label)
