"""The page and the rows of a comparison of two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.core.files import beside
from augpipe.report.compare_runs import RunsCompared
from augpipe.report.page_templates import TEMPLATES

MARKER: Final = "<!-- augpipe compare-runs -->"  # by which a page that may be replaced is recognised


def check_page(file: Path) -> None:
    """UserError if the page cannot be written there: another ending, or a file that is no such page."""
    if file.suffix.lower() != ".html":
        raise UserError(f"--out must be a .html file; got {str(file)!r}")
    if file.is_dir() or (file.exists() and MARKER not in file.read_text("utf-8", "replace")):
        raise UserError(f"{file} exists and is no page of compare-runs; choose another --out")


def write_page(compared: RunsCompared, file: Path) -> None:
    """Write the self-contained page atomically."""
    from augpipe.report.figures import gain_dots  # imports matplotlib and torch

    check_page(file)
    generative = compared.second.summary["arms"]
    figure = gain_dots(
        [one.change for one in compared.arms],
        [bool(generative.get(one.arm, {}).get("generative")) for one in compared.arms],
        "A",
        "macro_recall",
    )
    text = TEMPLATES.get_template("compare_runs.html").render(
        compared=compared, figure=figure, rows=rows(compared), how=how(compared), marker=MARKER
    )
    with beside(file) as draft:
        draft.write_text(text, encoding="utf-8")


def rows(compared: RunsCompared) -> list[tuple[str, ...]]:
    """Arm, macro recall in both runs, change, interval, p and what it says, as text."""
    table: list[tuple[str, ...]] = []
    for one in compared.arms:
        interval = one.change.interval
        table.append(
            (
                one.arm,
                f"{100 * one.means[0]:.1f}",
                f"{100 * one.means[1]:.1f}",
                f"{100 * interval.mean:+.1f}",
                f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}",
                f"{one.change.p_holm:.2g}",
                one.label,
            )
        )
    return table


def how(compared: RunsCompared) -> str:
    """Which seeds are compared."""
    if compared.paired:
        return f"the seeds that both runs have ({', '.join(map(str, compared.paired))}), each with itself"
    n = min(len(compared.first.seeds), len(compared.second.seeds))
    return f"{n} seeds of each run, which have none in common"
