"""What stands on the report's figures, as it is drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from augpipe.comparison.bootstrap import Interval
from augpipe.report.figures import STYLE, name_classes, ratio_curve
from augpipe.report.heatmaps import confusion_pair

DIGITS = (
    "0 - zero",
    "1 - one",
    "2 - two",
    "3 - three",
    "4 - four",
    "5 - five",
    "6 - six",
    "7 - seven",
    "8 - eight",
    "9 - nine",
)


@pytest.mark.parametrize(
    "names",
    [
        ("ill", "well"),
        tuple("0123456789"),
        DIGITS,
        ("MMMMMMMMMMMM", "WWWWWWWWWWWW", "WWWWWWWWWWWM"),
        ("a rather lo…", "another one…", "a third name"),
        tuple(f"class {k}\n{k * 1000}" for k in range(9)),
        tuple(f"class {k}\n{k * 1000}" for k in range(47)),
        tuple(f"c{k}" for k in range(60)),
        tuple(f"a class {k}" for k in range(300)),
    ],
)
@pytest.mark.parametrize("bars", [True, False])
def test_names_of_classes_do_not_run_into_each_other(names: tuple[str, ...], bars: bool) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(4.5, min(14, 0.5 * len(names) + 2)), 2.6))
        canvas, axes = FigureCanvasAgg(figure), figure.subplots()
        if bars:
            axes.bar(np.arange(len(names)), 1)
        else:
            axes.imshow(np.zeros((2, len(names))), aspect="auto")
        name_classes(axes, names)
        canvas.draw()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) == len(names) or len(boxes) > 20
    assert all(a.x1 <= b.x0 for a, b in pairwise(boxes))


def test_short_names_stand_upright() -> None:
    with matplotlib.rc_context(STYLE):
        axes = Figure(figsize=(7, 2.6)).subplots()
        axes.bar(np.arange(10), 1)
        name_classes(axes, list("0123456789"))
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {0}


@pytest.mark.parametrize("k", [3, 10, 30])
def test_no_text_of_a_figure_is_cut_off(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices have a fixed aspect, which leaves no room for titles in some sizes; a legend of many arms has none."""
    cut = list[bool]()

    def saved(figure: Figure, *args: Any, bbox_inches: Bbox, **options: Any) -> None:
        text = figure.get_tightbbox()
        cut.append(not (bbox_inches.containsx(text.x0) and bbox_inches.containsx(text.x1)))
        cut.append(not (bbox_inches.containsy(text.y0) and bbox_inches.containsy(text.y1)))

    monkeypatch.setattr(Figure, "savefig", saved)
    confusion_pair([f"class {i}" for i in range(k)], dict.fromkeys(("real", "with images"), np.eye(k)))
    at = Interval(0.5, 0.4, 0.6, 0.05, 9.0)
    ratio_curve({f"arm with images {i}": [(0.1 * i, at)] for i in range(k)}, {"real": at}, "macro_recall")
    assert len(cut) == 4 and not any(cut)
