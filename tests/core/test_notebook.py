"""The progress bar of notebooks, shown here to a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from augpipe import Synthesizer
from augpipe.core import notebook
from augpipe.core.notebook import EVERY, Bar, Silent, progress


class Page:
    """What a notebook shows in place of a bar, in order; a second passes between two looks at the clock."""

    def __init__(self) -> None:
        self.html = list[str]()
        self.now = 0.0

    def show(self, html: str) -> Callable[[str], Any]:
        self.html.append(html)
        return self.html.append

    @property
    def fractions(self) -> list[float]:
        return [float(value) for html in self.html for value in re.findall(r'value="([\d.]+)"', html)]


def test_the_bar_follows_tasks() -> None:
    page = Page()
    bar = Bar("compare <x>", 2, page.show, lambda: page.now)
    bar.begin("first", 10)
    bar.report("soon", 4)
    assert page.fractions == [0, 0], "the browser is not asked for each step"
    page.now += EVERY
    bar.report("40 img/s", 5)
    assert page.fractions[-1] == 0.25 and "first 50% (40 img/s)" in page.html[-1] and "0/2" in page.html[-1]
    bar.end()
    bar.begin("second & last")
    assert page.fractions[-1] == 0.5 and "1/2" in page.html[-1] and "second &amp; last" in page.html[-1]
    bar.end()
    bar.begin("one more than expected")
    assert "2/3" in page.html[-1]
    bar.end()
    page.now += 60
    bar.close("done")
    assert page.html[-1] == f"<p>compare &lt;x&gt;: done, {60 + EVERY:.0f} s</p>"
    assert page.fractions == sorted(page.fractions)


def test_only_notebooks_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress("x"), Silent)
    page = Page()
    monkeypatch.setattr(notebook, "notebook_display", lambda: page.show)
    images = np.random.default_rng(0).integers(0, 255, (24, 8, 8), dtype=np.uint8)
    Synthesizer("cgan", kimg=0.2, options={"width": 4, "batch": 8}, random_state=0).fit(images, np.arange(24) % 2)
    assert page.html[0].startswith("<p><progress") and "train cgan" in page.html[0]
    assert page.html[-1].startswith("<p>train cgan: the budget is spent, ")
