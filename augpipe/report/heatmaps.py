"""Figures of tables: recall of every arm and class, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from augpipe.report.figures import STYLE, WIDTH, class_names, extra_height, name_classes, short_name, svg


def recall_heatmap(
    arms: Sequence[str], classes: Sequence[str], counts: Sequence[int], recall: NDArray[np.float64]
) -> str:
    """Heatmap of recall (arms, classes) with the values written in; real training image counts below."""
    with matplotlib.rc_context(STYLE):
        width = max(WIDTH, min(16, 0.55 * len(classes) + 2.4))
        names = class_names(classes)
        figure = Figure(figsize=(width, 0.36 * len(arms) + 1.3 + extra_height(names)))
        axes: Axes = figure.subplots()
        axes.imshow(recall, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        if len(classes) <= 30:
            for (y, x), value in np.ndenumerate(recall):
                axes.text(
                    x, y, f"{100 * value:.0f}", ha="center", va="center", color="black" if value > 0.55 else "white"
                )
        name_classes(axes, [f"{c}\n{n}" for c, n in zip(names, counts, strict=True)])
        axes.set_yticks(range(len(arms)), [short_name(a) for a in arms])
        axes.set_xlabel("class, with its real training images")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return svg(figure)


def confusion_pair(classes: Sequence[str], tables: Mapping[str, NDArray[np.float64]]) -> str:
    """Row-normalised confusion matrices (K,K) side by side: rows are true classes, columns predicted classes."""
    k = len(classes)
    with matplotlib.rc_context(STYLE):
        side = max(2.8, min(9.0, 0.4 * k + 1.6))
        figure = Figure(figsize=(2 * side + 0.8, side + 0.5))
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for ax, (arm, table) in zip(axes, tables.items(), strict=True):
            ax.imshow(table, cmap="cividis", vmin=0, vmax=1)
            if k <= 12:
                for (y, x), value in np.ndenumerate(table):
                    if value >= 0.005:
                        ax.text(
                            x,
                            y,
                            f"{100 * value:.0f}",
                            ha="center",
                            va="center",
                            color="black" if value > 0.55 else "white",
                        )
            ticks = range(k) if k <= 40 else []
            names = class_names(classes) if k <= 40 else []
            ax.set_xticks(ticks, names, rotation=90)
            ax.set_yticks(ticks, names if ax is axes[0] else [""] * len(names))
            ax.set_title(short_name(arm))
            ax.set_xlabel("predicted class")
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0)
        axes[0].set_ylabel("true class")
        return svg(figure)
