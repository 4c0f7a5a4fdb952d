"""`augpipe compare-runs`: two out folders, one page and one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from augpipe.core.errors import UserError
from augpipe.core.home import home

from .command_line import Json
from .output import Output, print_json, print_line

SHOWN = 12  # settings that the terminal shows; the page has all


def compare_runs(
    first: Path, second: Path, /, *, out: Annotated[Path | None, Parameter(name="--out")] = None, json: Json = False
) -> None:
    """Compare two finished runs on the same test set: same data? same settings? which arms moved?

    Parameters
    ----------
    first
        The out folder of a run.
    second
        The out folder of another run; changes are from the first to this one.
    out
        File of the page (default: comparisons/FIRST-SECOND.html below AUGPIPE_HOME).
    json
        Print only JSON: `sentence`, `data`, `settings` and `versions` that differ, `arms` by name with `first`,
        `second`, `change`, `low`, `high`, `p_holm` and `moved`, `only_first`, `only_second`, `seeds`, and `out`, the
        page.
    """
    from augpipe.report.compare_runs import compare_runs as compare
    from augpipe.report.compare_runs_page import check_page, rows, write_page
    from augpipe.report.run_folder import read_run

    if first.resolve() == second.resolve():
        raise UserError(f"{first} and {second} are the same folder")
    names = "-".join(folder.resolve().name for folder in (first, second))
    page = out or home() / "comparisons" / f"{names}.html"
    check_page(page)
    compared = compare(read_run(first), read_run(second))
    write_page(compared, page)
    if json:
        print_json({**compared.values(), "out": str(page)})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("arm", "A", "B", "change", "95% interval", "p (Holm)", "moved"):
        table.add_column(column, justify="left" if column in ("arm", "moved") else "right")
    for row in rows(compared):
        table.add_row(*map(escape, row))
    Output().print(table)
    for line in ("", *_lines(compared), f"page: {page}"):
        print_line(line)


def _lines(compared: Any) -> list[str]:
    """The sentence, and what differs."""
    lines = [compared.sentence(), f"A: {compared.first.folder}", f"B: {compared.second.folder}"]
    lines += [f"only in {name}: {', '.join(arms)}" for name, arms in zip("AB", compared.only, strict=True) if arms]
    for what in ("data", "settings", "versions"):
        differing = getattr(compared, what)
        lines.append(f"{what}: {f'{len(differing)} different' if differing else 'the same'}")
        lines += [f"  {name}: {one} | {other}" for name, one, other in differing[:SHOWN]]
        if len(differing) > SHOWN:
            lines.append(f"  and {len(differing) - SHOWN} more on the page")
    return lines
