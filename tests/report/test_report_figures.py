"""What stands on the report's figures, as it is drawn."""

from __future__ import annotations

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from augpipe.report.figures import STYLE, name_classes

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
