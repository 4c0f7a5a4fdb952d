"""The report in a real browser: on a wide and on a narrow screen, without a word in its console or a request."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab, tab
from stored_results import CLASSES, EVIL, results, stored

from augpipe.report.page import page
from augpipe.report.quiz import quiz_page
from augpipe.report.quiz_answers import read_score

__all__ = ["results", "stored"]  # fixtures
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")


# Two frames on, what was changed is laid out.
SETTLED = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(0))))"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def report(results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(results), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 400])
def test_it_renders_without_errors_or_requests(report: Path, chromium: Tab, width: int) -> None:
    chromium.open(report, width)
    chromium.screenshot(report.with_name(f"{width}.png"))
    assert chromium.of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    asked = [e["request"]["url"] for e in chromium.of("Network.requestWillBeSent")]
    assert [url[:60] for url in asked if not url.startswith("data:")] == [report.as_uri()[:60]]
    # What is wider than the screen scrolls in its own box, not the page.
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.run("document.body.innerText.includes('Do synthetic images help')")


def test_every_image_is_drawn_and_has_a_text(report: Path, chromium: Tab) -> None:
    chromium.open(report, 1280)
    images = chromium.run("[...document.images].map(i => [i.naturalWidth, i.alt, i.getBoundingClientRect().width])")
    assert len(images) > 10
    for natural, alt, shown in images:
        assert natural > 0 and alt.strip()
        assert shown > 0 or "images of" in alt  # a strip in a closed fold


def test_on_paper_nothing_is_folded_away_or_cut_off(report: Path, chromium: Tab) -> None:
    """At the width of A4 less its margins, as the print medium."""
    chromium.open(report, 704)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    chromium.run(SETTLED)
    try:
        folds = chromium.run(
            """[...document.querySelectorAll('details > :not(summary)')].map(
                n => n.checkVisibility({contentVisibilityAuto: true}) && n.getBoundingClientRect().height > 0)"""
        )
        wide = chromium.run(
            """[...document.querySelectorAll('.scroll, body')].filter(
                n => n.scrollWidth > n.clientWidth + 1).map(n => n.innerText.slice(0, 80))"""
        )
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")
        chromium.run(SETTLED)
    assert len(folds) > 5 and all(folds)
    assert wide == []
    assert not all(
        chromium.run(
            "[...document.querySelectorAll('details > :not(summary)')].map(n => "
            "n.checkVisibility({contentVisibilityAuto: true}))"
        )
    )  # on a screen they are


def test_a_class_called_like_a_script_is_but_text(report: Path, chromium: Tab) -> None:
    chromium.open(report, 1280)
    assert chromium.run("document.scripts.length") == 0
    assert EVIL in chromium.run("document.body.textContent")


def test_every_figure_has_a_table_below_it(report: Path, chromium: Tab) -> None:
    chromium.open(report, 1280)
    bare = chromium.run(
        """[...document.querySelectorAll('img.chart')].filter(i => {
            for (let n = i.parentElement.nextElementSibling; n && n.tagName !== 'H2'; n = n.nextElementSibling)
                if (n.querySelector('table')) return false;
            return true;
        }).map(i => i.alt.slice(0, 60))"""
    )
    assert bare == []


def test_figures_share_their_width_and_begin_where_the_text_does(report: Path, chromium: Tab) -> None:
    """Few classes, so that none needs more; text of 14 px or more."""
    chromium.open(report, 1280)
    places = chromium.run(
        """[...document.querySelectorAll('img.chart')].map(i => i.getBoundingClientRect()).map(r => [r.left, r.width])"""
    )
    lefts, widths = ({round(one[at]) for one in places} for at in (0, 1))
    assert len(places) > 5 and len(widths) == 1
    assert lefts == {round(chromium.run("document.querySelector('h2').getBoundingClientRect().left"))}
    sizes = chromium.run(
        """[...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(
            n => n.nodeType === 3 && n.textContent.trim())).map(e => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert min(sizes) >= 14


def test_on_a_narrow_screen_figures_keep_their_size_and_scroll(report: Path, chromium: Tab) -> None:
    chromium.open(report, 400)
    sizes = chromium.run(
        "[...document.querySelectorAll('img.chart')].map(i => [i.naturalWidth, i.getBoundingClientRect().width])"
    )
    assert len(sizes) > 5
    for natural, shown in sizes:
        assert shown >= 0.99 * natural or shown == 0  # a closed fold's


def press(page: Tab, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key)


def test_the_quiz_is_played_by_keys_and_its_answers_saved(results, chromium: Tab, tmp_path: Path) -> None:
    """All pictures called real, after one that is taken back; the page's score is that of the command."""
    path = tmp_path / "quiz.html"
    path.write_text(quiz_page(results, results.generators[0]), encoding="utf-8")
    chromium.open(path, 400)
    chromium.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for key in ("Enter", "ArrowRight", "Backspace", *("r", "ArrowLeft") * 20):
        press(chromium, key)
    score = chromium.run("document.getElementById('score').textContent")
    assert score.startswith("20 of 40 right: 50.0% (95% interval 35.2 to 64.8), not shown")
    assert chromium.run("document.querySelectorAll('#mistaken figure').length") == 20
    assert chromium.run("document.documentElement.scrollWidth") <= 400
    chromium.screenshot(tmp_path / "quiz.png")
    press(chromium, "Enter")
    saved, until = tmp_path / "answers.csv", time.monotonic() + 30
    while not saved.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (answers := read_score(saved)).right == {"real": 20, "synthetic": 0}
    assert answers.interval == pytest.approx((0.352, 0.648), abs=1e-3)
    with saved.open(newline="", encoding="utf-8") as stream:
        assert {row["class"] for row in csv.DictReader(stream)} == set(CLASSES)
    assert chromium.of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    asked = [e["request"]["url"] for e in chromium.of("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def test_the_look_for_errors_finds_them(chromium: Tab, tmp_path: Path) -> None:
    """A page with a script that fails, a picture from elsewhere and a table too wide is caught by the same looks."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><div style='width:3000px'>x</div><script>boom()</script>")
    chromium.open(bad, 400)
    assert chromium.of("Runtime.exceptionThrown")
    assert any("127.0.0.1" in e["request"]["url"] for e in chromium.of("Network.requestWillBeSent"))
    assert chromium.run("document.documentElement.scrollWidth") > 400
