"""`augpipe inspect`: look, write the files, say the most important on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from augpipe import sources
from augpipe.config import Experiment, build, load, override
from augpipe.defaults import name_of
from augpipe.errors import UserError
from augpipe.inspection import Inspection, inspect
from augpipe.report.inspection import FILES, write_inspection
from augpipe.report.write import check_out
from augpipe.store import home
from flows.progress import bar

SHOWN = 40  # classes in the terminal's table
WORDS = {"stop": "stops a run", "leak": "leak", "warning": "note"}


def look(source: Path, overrides: Sequence[str], out: Path | None) -> tuple[Inspection, Path]:
    """Inspect a config's source, or pictures, and write what was found; the folder it was written to."""
    whole = source.is_file() and source.suffix.lower() in (".yaml", ".yml")
    asked = load(source, overrides) if whole else _pictures(source, overrides)
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


def _pictures(source: Path, overrides: Sequence[str]) -> Experiment:
    """Pictures as an experiment that is never run: its source, image and split are what counts."""
    values: dict[str, Any] = {"source": sources.suggest(source), "name": name_of(source)}
    values |= {"arms": [{"name": "real"}], "baseline": "real"}
    for one in overrides:
        key = one.partition("=")[0].split(".")[0]
        if key not in ("source", "image", "split"):
            raise UserError(f"--set {one}: inspect knows source, image and split")
        override(values, one)
    return build(values, where=str(source))


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
        table.add_row(" ".join(row["name"].split()), *cells)
    out.print(table, markup=False)
    left = len(facts["classes"]) - SHOWN
    ratio = facts["imbalance_ratio"]["all"]
    lines = [f"and {left:,} more classes"] if left > 0 else []
    lines.append(
        f"{facts['images']:,} images of {len(facts['classes'])} classes"
        + (f", the largest {ratio:.1f} times the smallest" if ratio else "")
    )
    lines += [f"{WORDS[problem['severity']]}: {problem['text']}" for problem in facts["problems"]]
    lines += [f"note: {note}" for note in facts["notes"]]
    lines.append(f"page: {folder / 'inspect.html'}")
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
