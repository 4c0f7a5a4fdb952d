"""Figure: differences with their intervals, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augpipe.report.figures import BLACK, BLUE, ORANGE, STYLE, WIDTH, short_name, svg


class ForestRow(NamedTuple):
    """A difference in points with its interval; tested: whether it is the one that the verdict is about."""

    name: str
    difference: float
    low: float
    high: float
    tested: bool = False


def forest(rows: Sequence[ForestRow], margin: float, axis: str) -> str:
    """The tested difference as a diamond on top, the others as circles; ± margin as a band.
    axis: text of the x axis.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.36 * len(rows) + 1.0))
        axes: Axes = figure.subplots()
        axes.axvspan(-margin, margin, color="#eeeeee", lw=0)
        axes.axvline(0, color=BLACK, lw=0.8)
        for at, row in enumerate(rows):
            colour, marker, size = (ORANGE, "D", 8) if row.tested else (BLUE, "o", 6)
            axes.plot([row.low, row.high], [at, at], color=colour, lw=3 if row.tested else 1.8)
            axes.plot(row.difference, at, marker, color=colour, ms=size, mec=BLACK, mew=0.6)
        axes.set_yticks(range(len(rows)), [short_name(row.name, 30) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.set_xlabel(axis)
        axes.grid(axis="x", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        return svg(figure)
