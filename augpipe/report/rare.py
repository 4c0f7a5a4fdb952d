"""The rare classes in the head of the page: sensitivity and specificity of the two finalists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.classifiers.scores import minority
from augpipe.comparison.decision import ALPHA
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.paired import level
from augpipe.comparison.units import Units
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.outputs import outputs, test_labels
from augpipe.report.results import Results

RARE: Final = 8  # classes in the table


def rare_classes(results: Results) -> list[tuple[str, ...]]:
    """Of the classes with the fewest training images: name, training and test images, then in percent on test the
    sensitivity without and with synthetic images, their difference, and both specificities; after a confirm stage with
    95% intervals.
    """
    train, test = (results.splits[name].counts() for name in ("train", "test"))
    rare = sorted(minority(train), key=lambda label: train[label])[:RARE]
    gains = {one.label: one for one in results.secondary if one.label is not None}
    intervals, rows = _Intervals.of(results), []
    for label in [label for label in rare if test[label]]:
        name = results.classes[label]
        recall, specificity = (_both(results, metric, name) for metric in ("recall", "specificity"))
        change = f"{recall[1] - recall[0]:+.1f}"
        if label in gains:
            gain = gains[label]
            change += f" ({gain.low:+.1f} to {gain.high:+.1f})"
            change += f": {gain.remark}" if gain.remark else ""
        around = ([""] * 2, [""] * 2) if intervals is None else intervals.around(label)
        rows.append(
            (
                name,
                f"{train[label]:,}",
                f"{test[label]:,}",
                *(f"{value:.1f}{text}" for value, text in zip(recall, around[0], strict=True)),
                change,
                *(f"{value:.1f}{text}" for value, text in zip(specificity, around[1], strict=True)),
            )
        )
    return rows


class _Intervals:
    """Intervals of single figures of the confirm stage."""

    def __init__(self, units: Units, groups: NDArray[np.object_], both: tuple[Outputs, Outputs]) -> None:
        self._units, self._groups, self._both = units, groups, both

    @classmethod
    def of(cls, results: Results) -> _Intervals | None:
        """None without a confirm stage."""
        confirmed = results.confirmed
        if not isinstance(confirmed, Confirmed):
            return None
        labels, groups = test_labels(confirmed.runs)
        arms = (str(confirmed.finalists.rival), str(confirmed.finalists.contender))
        without, with_generator = (outputs(confirmed.runs, arm, confirmed.classifiers) for arm in arms)
        return cls(Units(labels, groups), groups, (without, with_generator))

    def around(self, label: int) -> tuple[list[str], list[str]]:
        """` (80.1 to 95.0)` of the sensitivity and of the specificity of a class, without and with synthetic images."""
        # The specificity is the recall of all other images, as one class that is "not this one".
        others = (self._units.labels != label).astype(np.int64)
        units = Units(others, self._groups)
        sensitivity = [_text(of, self._units, label) for of in self._both]
        return sensitivity, [_text((of != label).astype(np.int64), units, 1) for of in self._both]


def _text(outputs: Outputs, units: Units, label: int) -> str:
    low, high = level(outputs, units, classes=(label,)).interval(ALPHA)
    return f" ({max(0.0, low):.1f} to {min(100.0, high):.1f})"


def _both(results: Results, metric: str, name: str) -> tuple[float, float]:
    """A class's metric in percent, without and with synthetic images, of the stage that the answer is of."""
    arms = (str(results.finalists.rival), str(results.finalists.contender))
    if isinstance(results.confirmed, Confirmed):
        means: Mapping[str, float] = results.confirmed.means(metric, name)
        return 100 * means[arms[0]], 100 * means[arms[1]]
    return 100 * results.mean(arms[0], metric, name), 100 * results.mean(arms[1], metric, name)
