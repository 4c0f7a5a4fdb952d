"""The report's figures as data URIs: SVG for charts, PNG for images. Colours readable without hue."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

from augpipe.comparison.options import LABELS, Metric
from augpipe.core.images import grid

if TYPE_CHECKING:
    from augpipe.comparison.bootstrap import Gain, Interval  # which import SciPy's statistics

# Okabe & Ito's palette: distinguishable with every common colour blindness, and as greys in print.
BLUE, ORANGE, GREY, BLACK = "#0072B2", "#E69F00", "#999999", "#222222"
GREEN, VERMILION, PURPLE, SKY = "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,  # 14 px
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "augpipe",  # equal figures, equal bytes
    "axes.edgecolor": "#666666",
    "text.parse_math": False,  # a class named $x$ is not a formula
    "savefig.transparent": True,  # the page's shadow shows at which side a wide figure goes on
}


WIDTH = 6.4  # inches, of a figure whose classes need no more
ENTRIES, LETTERS = 10, 22  # of a legend inside of the figure, at most


def svg(figure: Figure) -> str:
    """A figure as a data URI; as wide as it was made, so that those of one page share their width.

    A large legend would leave no room for the axes: it stands beside the figure, which is larger by it.
    """
    buffer = io.BytesIO()
    found = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
    large = [legend for legend in found if _is_large(legend)]
    with _missing_glyphs():
        for legend in large:
            legend.set_in_layout(False)
        figure.set_layout_engine("constrained")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for legend in large:
            legend.set_in_layout(True)
        whole = Bbox.from_bounds(0, 0, *figure.get_size_inches())
        # Axes of a fixed aspect may push text out of the figure.
        box = Bbox.union([whole, figure.get_tightbbox()])
        figure.savefig(buffer, format="svg", bbox_inches=box, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _is_large(legend: Legend) -> bool:
    names = [text.get_text() for text in legend.get_texts()]
    return len(names) > ENTRIES or max(map(len, names), default=0) > LETTERS


def short_name(name: str, most: int = 24) -> str:
    """A name cut to at most `most` characters."""
    flat = " ".join(name.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def legends(names: Sequence[str], most: int = 36) -> list[str]:
    """Names cut to legend length; numbered if two are equal after the cut."""
    short = [short_name(name, most) for name in names]
    return [
        f"{short_name(name, most - 4)} ({at + 1})" if short.count(text) > 1 else text
        for at, (name, text) in enumerate(zip(names, short, strict=True))
    ]


@contextmanager
def _missing_glyphs() -> Iterator[None]:
    """Ignore warnings about glyphs the font lacks:
    they show as boxes, and the table next to the figure has the names.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


LONG, SHORT = 22, 12  # letters of a class's name on an axis: of up to MANY classes, and of more
MANY = 12


def class_names(names: Sequence[str]) -> list[str]:
    """Names of classes for an axis: cut where there are many."""
    return [short_name(name, LONG if len(names) <= MANY else SHORT) for name in names]


def extra_height(names: Sequence[str]) -> float:
    """Inches that a figure needs for names longer than SHORT, should they be rotated."""
    return 0.085 * max(0, max(map(len, names), default=0) - SHORT)


def name_classes(axes: Axes, names: Sequence[str]) -> None:
    """Label columns 0, 1, ... of an otherwise finished figure: horizontally if the names fit, else rotated.

    If they do not fit rotated, only each second, third, ... one; the table next to the figure has all.
    """
    axes.set_xticks(range(len(names)), names)
    with _missing_glyphs():
        cast(Figure, axes.figure).draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    if any(left.x1 + left.height / 4 > right.x0 for left, right in pairwise(boxes)):
        room = (boxes[-1].x0 + boxes[-1].x1 - boxes[0].x0 - boxes[0].x1) / 2 / (len(names) - 1)
        each = math.ceil(1.1 * max(box.height for box in boxes) / room)
        axes.set_xticks(range(0, len(names), each), names[::each])
        axes.tick_params(axis="x", labelrotation=90)


def counts_bars(classes: Sequence[str], real: Sequence[float], synthetic: Sequence[float]) -> str:
    """Stacked bars: real and synthetic training images of each class."""
    with matplotlib.rc_context(STYLE):
        names = class_names(classes)
        figure = Figure(figsize=(max(WIDTH, min(14, 0.5 * len(classes) + 2)), 2.8 + extra_height(names)))
        axes: Axes = figure.subplots()
        at = np.arange(len(classes))
        axes.bar(at, real, color=BLUE, label="real")
        axes.bar(at, synthetic, bottom=real, color=ORANGE, hatch="///", edgecolor="white", label="synthetic")
        name_classes(axes, names)
        axes.set_ylabel("training images")
        # Above the bars: they may fill the whole height.
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
        return svg(figure)


def side_bars(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """Stacked bars: images of each class in each subset of the split."""
    looks = ((BLUE, ""), (ORANGE, "///"), (GREY, "..."))
    with matplotlib.rc_context(STYLE):
        names = class_names(classes)
        figure = Figure(figsize=(max(WIDTH, min(14, 0.5 * len(classes) + 2)), 2.8 + extra_height(names)))
        axes: Axes = figure.subplots()
        at, below = np.arange(len(classes)), np.zeros(len(classes))
        for (side, values), (colour, hatch) in zip(counts.items(), looks, strict=False):
            axes.bar(at, values, bottom=below, color=colour, hatch=hatch, edgecolor="white", label=side)
            below = below + np.asarray(values)
        name_classes(axes, names)
        axes.set_ylabel("images")
        if len(counts) > 1:
            axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
        return svg(figure)


def gain_dots(
    gains: Sequence[Gain],
    generative: Sequence[bool],
    reference: str,
    metric: Metric,
    by_seed: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """One row an arm: mean gain in points of the metric as a dot, the interval that its verdict is read from as a bar.

    by_seed: arm → gain of each seed in points, as small dots below the bar.
    """
    small = by_seed or {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.42 * len(gains) + 1.1))
        axes: Axes = figure.subplots()
        for row, (g, trained) in enumerate(zip(gains, generative, strict=True)):
            colour, marker = (ORANGE, "D") if trained else (BLUE, "o")
            i = g.shown
            axes.plot([100 * i.low, 100 * i.high], [row, row], color=colour, lw=2)
            axes.plot(100 * i.mean, row, marker, color=colour, ms=7, mec=BLACK, mew=0.6)
            points = small.get(g.arm, ())
            axes.plot(points, np.full(len(points), row + 0.28), "o", color=GREY, ms=3.5, alpha=0.8)
        axes.axvline(0, color=BLACK, lw=0.8)
        axes.set_yticks(range(len(gains)), [short_name(g.arm) for g in gains])
        axes.set_ylim(len(gains) - 0.5, -0.5)
        axes.set_xlabel(f"gain over {short_name(reference)!r} in {LABELS[metric]}, points")
        axes.grid(axis="x", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        return svg(figure)


LINES = ("-", "--", "-.", ":")
MARKS = "osD^vP*X"
TRAINED_LOOKS = ((ORANGE, "D"), (VERMILION, "^"), (PURPLE, "P"), (BLACK, "*"))
OTHER_LOOKS = ((BLUE, "o"), (SKY, "s"), (GREEN, "v"), (GREY, "X"))


def ratio_curve(
    series: Mapping[str, Sequence[tuple[float, Interval]]],
    levels: Mapping[str, Interval],
    metric: Metric,
    trained: Collection[str] = (),
) -> str:
    """The metric over the fraction of synthetic items: one line a series, one point an arm.

    levels: arms drawn as horizontal lines, the first with its interval as a band. trained: series of a trained
    generator, which have the colours and marks that such arms have in other figures.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4))
        axes: Axes = figure.subplots()
        for at, (name, level) in enumerate(levels.items()):
            if at == 0:
                axes.axhspan(100 * level.low, 100 * level.high, color="#eeeeee", lw=0)
            axes.axhline(100 * level.mean, color=BLACK, lw=1, ls=LINES[at % 4], label=short_name(name))
        looks = {True: cycle(TRAINED_LOOKS), False: cycle(OTHER_LOOKS)}
        labels = legends(list(series))
        for at, (name, points) in enumerate(series.items()):
            colour, mark = next(looks[name in trained])
            ordered = sorted(points, key=lambda point: point[0])
            x = [fraction for fraction, _ in ordered]
            y = np.array([[100 * i.mean, 100 * i.low, 100 * i.high] for _, i in ordered])
            axes.errorbar(
                x,
                y[:, 0],
                [np.maximum(0, y[:, 0] - y[:, 1]), np.maximum(0, y[:, 2] - y[:, 0])],
                color=colour,
                marker=mark,
                ms=6,
                mec=BLACK,
                mew=0.6,
                lw=1.4,
                capsize=3,
                label=labels[at],
            )
        axes.set_xlabel("fraction of synthetic items in a batch")
        axes.set_ylabel(f"{LABELS[metric]} on test, %")
        axes.set_xlim(left=0)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
        return svg(figure)


def cost_dots(
    names: Sequence[str],
    seconds: Sequence[float],
    gains: Sequence[Gain],
    generative: Sequence[bool],
    metric: Metric = "macro_recall",
) -> str:
    """Gain with interval over seconds per seed; logarithmic time axis."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4))
        axes: Axes = figure.subplots()
        for at, (name, x, g, trained) in enumerate(zip(legends(names), seconds, gains, generative, strict=True)):
            colour = ORANGE if trained else BLUE
            i = g.shown
            axes.plot([x, x], [100 * i.low, 100 * i.high], color=colour, lw=1.4)
            axes.plot(x, 100 * i.mean, MARKS[at % len(MARKS)], color=colour, ms=7, mec=BLACK, mew=0.6, label=name)
        axes.axhline(0, color=BLACK, lw=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        # The default labels powers of ten with formulas, which are not parsed here.
        axes.xaxis.set_major_formatter(lambda x, at: f"{x:,.12g}")
        axes.xaxis.set_minor_formatter(lambda x, at: "")
        axes.set_xlabel("seconds per seed: generator, synthesis and classifier")
        axes.set_ylabel(f"gain, points of {LABELS[metric]}")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
        return svg(figure)


STRIP_SIDE = 64  # maximum pixels per side of an image in a strip; samples/ has full size


def image_strip(images: NDArray[np.uint8]) -> str:
    """PNG data URI of images uint8 (N,C,H,W) in one row,
    scaled up to at least 32 px or down to STRIP_SIDE px per side.
    """
    buffer = io.BytesIO()
    size = images.shape[2]
    picture = grid(images, max(1, len(images)), gap=2, scale=max(1, -(-32 // size)))
    if size > STRIP_SIDE:
        picture = picture.resize(
            tuple(max(1, round(side * STRIP_SIDE / size)) for side in picture.size), Image.Resampling.BOX
        )
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
