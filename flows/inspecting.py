"""`augpipe inspect`: inspect images, write the files, print a summary."""

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
from augpipe.core.yaml_loader import read_yaml
from augpipe.data import sources
from augpipe.data.inspect import Inspection, inspect
from augpipe.pipeline.defaults import name_of
from augpipe.pipeline.experiment import Experiment, build
from augpipe.report.inspection import FILES, write_inspection
from augpipe.report.write import check_out

from .progress import bar

SHOWN = 40  # classes in the printed table
SEVERITIES = {"stop": "stops a run", "leak": "leak", "warning": "note"}


def inspect_source(
    source: Path, overrides: Sequence[str], out: Path | None
) -> tuple[Inspection, Path]:
    """Inspect a config's source, or images, and write the results; returns them and their folder."""
    is_config = source.is_file() and source.suffix.lower() in (".yaml", ".yml")
    values = _config(source) if is_config else {"source": sources.suggest(source)}
    experiment = _experiment(values, source, overrides)
    folder = out or home() / "inspections" / experiment.name
    check_out(folder, sources.place(experiment.source), FILES)
    with bar("reading images") as progress:
        inspection = inspect(
            sources.listing(experiment.source),
            experiment.image,
            experiment.split
            if is_config or any(value.startswith("split.") for value in overrides)
            else None,
            policy=experiment.policy,
            progress=progress,
        )
    write_inspection(inspection, experiment.image, experiment.name, folder)
    return inspection, folder


def _config(source: Path) -> dict[str, Any]:
    """Read a config; only its `source` is required."""
    try:
        values = read_yaml(source.read_text(encoding="utf-8"), f"the config {source}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {source}: {error}") from None
    if not isinstance(values, dict) or "source" not in values:
        raise UserError(f"the config {source} has no source")
    return values


def _experiment(values: dict[str, Any], source: Path, overrides: Sequence[str]) -> Experiment:
    """An experiment that is never run; only its source, image, split and policy are used."""
    values.setdefault("name", name_of(source))
    values.setdefault("arms", [{"name": "real"}])
    values.setdefault("baseline", values["arms"][0]["name"])
    return build(values, overrides, where=str(source))


def plain(text: str) -> str:
    """Text with unprintable characters escaped, so that it cannot move the cursor or change colours."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split(" ")))


def print_json(inspection: Inspection) -> None:
    """Print the facts as JSON on standard output."""
    sys.stdout.write(json.dumps(inspection.facts(), indent=2, ensure_ascii=False) + "\n")


def print_summary(inspection: Inspection, folder: Path) -> None:
    """Print the classes as a table, then problems, notes and the path of the page."""
    facts = inspection.facts()
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
    hidden = len(facts["classes"]) - SHOWN
    ratio = facts["imbalance_ratio"]["all"]
    lines = [f"and {hidden:,} more classes"] if hidden > 0 else []
    lines.append(
        f"{facts['images']:,} images of {len(facts['classes'])} classes"
        + (f", the largest {ratio:.1f} times the smallest" if ratio else "")
    )
    lines += [
        f"{SEVERITIES[problem['severity']]}: {problem['text']}" for problem in facts["problems"]
    ]
    lines += [f"note: {note}" for note in facts["notes"]]
    if facts["ignored"]:
        ignored = ", ".join(f"{n:,} {suffix}" for suffix, n in facts["ignored"].items())
        lines.append(f"note: ignored files without an image extension: {ignored}")
    lines.append(f"page: {folder / 'inspect.html'}")
    for line in lines:
        out.print(plain(line), markup=False, highlight=False, soft_wrap=True)
