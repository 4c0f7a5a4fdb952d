"""`augpipe inspect`: look, write the files, say the most important on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.data import sources
from augpipe.data.inspect import Inspection, inspect
from augpipe.pipeline.defaults import name_of
from augpipe.pipeline.experiment import Experiment, build, read_yaml
from augpipe.report.inspection import FILES, write_inspection
from augpipe.report.write import check_out

from .progress import bar

SHOWN = 40  # classes in the terminal's table
WORDS = {"stop": "stops a run", "leak": "leak", "warning": "note"}


def look(source: Path, overrides: Sequence[str], out: Path | None) -> tuple[Inspection, Path]:
    """Inspect a config's source, or pictures, and write what was found; the folder it was written to."""
    whole = source.is_file() and source.suffix.lower() in (".yaml", ".yml")
    given = _config(source) if whole else {"source": sources.suggest(source)}
    asked = _experiment(given, source, overrides)
    folder = out or home() / "inspections" / asked.name
    check_out(folder, sources.place(asked.source), FILES)
    with bar("looking at pictures") as progress:
        found = inspect(
            sources.listing(asked.source),
            asked.image,
            asked.split if whole or any(one.startswith("split.") for one in overrides) else None,
            policy=asked.policy,
            progress=progress,
        )
    write_inspection(found, asked.image, asked.name, folder)
    return found, folder


def _config(source: Path) -> dict[str, Any]:
    """A config, whole or no more than a source."""
    try:
        values = read_yaml(source.read_text(encoding="utf-8"), f"the config {source}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {source}: {error}") from None
    if not isinstance(values, dict) or "source" not in values:
        raise UserError(f"the config {source} has no source")
    return values


def _experiment(values: dict[str, Any], source: Path, overrides: Sequence[str]) -> Experiment:
    """An experiment that is never run: its source, image, split and policy are what counts."""
    values.setdefault("name", name_of(source))
    values.setdefault("arms", [{"name": "real"}])
    values.setdefault("baseline", values["arms"][0]["name"])
    return build(values, overrides, where=str(source))


def plain(text: str) -> str:
    """Text that a terminal shows as it is: what moves the cursor or the colours is written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split(" ")))


def print_json(found: Inspection) -> None:
    """The facts on standard output."""
    sys.stdout.write(json.dumps(found.facts(), indent=2, ensure_ascii=False) + "\n")


def tell(found: Inspection, folder: Path) -> None:
    """Classes as a table, then what stands out, and where the page is."""
    facts = found.facts()
    out = Console()
    sides = [side for side in ("train", "val", "test") if side in (facts["classes"] or [{}])[0]]
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for column in ("images", *sides, "cannot be used"):
        table.add_column(column, justify="right")
    for row in facts["classes"][:SHOWN]:
        cells = [f"{row[key]:,}" for key in ("images", *sides, "unusable")]
        table.add_row(escape(plain(row["name"])), *cells)
    out.print(table)
    left = len(facts["classes"]) - SHOWN
    ratio = facts["imbalance_ratio"]["all"]
    lines = [f"and {left:,} more classes"] if left > 0 else []
    lines.append(
        f"{facts['images']:,} images of {len(facts['classes'])} classes"
        + (f", the largest {ratio:.1f} times the smallest" if ratio else "")
    )
    lines += [f"{WORDS[problem['severity']]}: {problem['text']}" for problem in facts["problems"]]
    lines += [f"note: {note}" for note in facts["notes"]]
    if facts["ignored"]:
        told = ", ".join(f"{n:,} {suffix}" for suffix, n in facts["ignored"].items())
        lines.append(f"note: no pictures by their names, left alone: {told}")
    lines.append(f"page: {folder / 'inspect.html'}")
    for line in lines:
        out.print(plain(line), markup=False, highlight=False, soft_wrap=True)
