"""Figure of the answer: each training of the two finalists, and their difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from augpipe.comparison.decision import Confirmation
from augpipe.comparison.options import LABELS
from augpipe.report.figures import BLACK, BLUE, GREY, ORANGE, STYLE, WIDTH, short_name, svg


def replicates_figure(result: Confirmation, names: Sequence[str], levels: Sequence[NDArray[np.float64]]) -> str:
    """Above, the metric of every training of the two arms, pairs joined by a line; below, their differences, a dot
    each, and the mean with its interval; ± margin as a band.

    names: of the arm without and the arm with synthetic images. levels: of each, in percent, (N,), paired.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6))
        above, below = figure.subplots(2, 1, height_ratios=(1, 1))
        _levels(above, names, levels)
        above.set_xlabel(f"{LABELS[result.metric]} on test, %")
        _differences(below, result)
        below.set_xlabel(f"difference in {LABELS[result.metric]}, points")
        for axes in (above, below):
            axes.grid(axis="x", color="#dddddd", lw=0.6)
            axes.set_axisbelow(True)
        return svg(figure)


def _levels(axes: Axes, names: Sequence[str], levels: Sequence[NDArray[np.float64]]) -> None:
    rows = (1, 0)
    for pair in zip(*levels, strict=True):
        axes.plot(pair, rows, color=GREY, lw=0.7)
    for row, values, colour, mark in zip(rows, levels, (BLUE, ORANGE), "oD", strict=True):
        axes.plot(values, np.full(len(values), row), mark, color=colour, ms=6, mec=BLACK, mew=0.5, alpha=0.8)
    axes.set_yticks(rows, [short_name(name) for name in names])
    axes.set_ylim(-0.5, 1.5)


def _differences(axes: Axes, result: Confirmation) -> None:
    values = np.array(result.values)
    axes.axvspan(-result.margin, result.margin, color="#eeeeee", lw=0)
    axes.axvline(0, color=BLACK, lw=0.8)
    rows = np.repeat(np.linspace(-0.25, 0.25, len(values)), values.shape[1])
    axes.plot(values.ravel(), rows, "o", color=GREY, ms=6, mec=BLACK, mew=0.5, alpha=0.8)
    axes.plot([result.low, result.high], [1, 1], color=ORANGE, lw=3)
    axes.plot(result.difference, 1, "D", color=ORANGE, ms=9, mec=BLACK, mew=0.6)
    axes.set_yticks([0, 1], ["each training", "mean, 95% confidence interval"])
    axes.set_ylim(-0.6, 1.5)
