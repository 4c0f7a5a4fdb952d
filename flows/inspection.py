"""`augpipe inspect`: inspect images, write the files, print a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from augpipe.core.errors import UserError, choices, several
from augpipe.core.home import home
from augpipe.core.options import SHIFT
from augpipe.data import sources
from augpipe.pipeline.config_values import read
from augpipe.pipeline.experiment import Experiment, build, outline_of
from augpipe.pipeline.suggestion import name_of
from augpipe.pipeline.validate import mistakes
from augpipe.report.out import INSPECTION_FILES, check_out

from .entry import handle_interrupts
from .output import Output, print_line
from .progress import bar

if TYPE_CHECKING:
    from augpipe.data.inspect import Inspection

# Settings that an inspection of images reads.
READ = ("source", "image", "split", "imbalance", "duplicates", "on_bad", "min_images", "name")
SHOWN = 40  # classes in the printed table
SEVERITIES = {"stop": "stops a run", "leak": "leak", "warning": "note"}


def inspect_source(source: Path, overrides: Sequence[str], out: Path | None) -> tuple[Inspection, Path]:
    """Inspect a config's source, or images, and write the results; returns them and their folder.

    What the settings and the names of the files show is checked before torch is imported.
    """
    is_config = source.is_file() and source.suffix.lower() in (".yaml", ".yml")
    if not is_config:
        _check_read(overrides)
    values = _config(source) if is_config else {"source": sources.suggest(source)}
    compares = "arms" in values  # else they are filled in, and no run is meant
    _fill_in(values, source)
    outline = outline_of(values, str(source), overrides)
    folder = out or home() / "inspections" / outline.name
    check_out(folder, outline.places, INSPECTION_FILES)
    experiment = build(values, overrides, where=str(source))
    listed = sources.listing(experiment.source)
    from augpipe.data.inspect import inspect, with_mistakes
    from augpipe.pipeline.shift import with_shift
    from augpipe.report.inspection import write_inspection

    handle_interrupts()
    with bar("reading images") as progress:
        inspection = inspect(
            listed,
            experiment.image,
            experiment.split if is_config or any(value.startswith("split.") for value in overrides) else None,
            policy=experiment.policy,
            progress=progress,
        )
    with bar("reading source.shift") as progress:
        inspection = with_shift(experiment, inspection, progress)
    notes = experiment.notes() if compares else ()
    inspection = with_mistakes(inspection, mistakes(experiment, inspection), notes)
    write_inspection(inspection, experiment.image, experiment.name, folder)
    return inspection, folder


def _check_read(overrides: Sequence[str]) -> None:
    """UserError for a setting of a run that an inspection of images does not read."""
    for text in overrides:
        name = text.partition("=")[0].partition(".")[0]
        if name in Experiment.model_fields and name not in READ:
            raise UserError(
                f"--set {text} has no effect on augpipe inspect of images, which reads {choices(READ)}; inspect a "
                "config to check all settings of a run"
            )


def _config(source: Path) -> dict[str, Any]:
    """Read a config; only its `source` is required."""
    values, where = read(source)
    if "source" not in values:
        raise UserError(f"{where} has no source")
    return values


def _fill_in(values: dict[str, Any], source: Path) -> None:
    """Complete the values to those of an experiment that is never run: its source, image, split and policy are used."""
    values.setdefault("name", name_of(source))
    values.setdefault("arms", [{"name": "real"}])
    arms = values["arms"]
    first = arms[0] if isinstance(arms, list) and arms else None
    if isinstance(first, dict) and "name" in first:  # else `build` reports what is wrong with them
        values.setdefault("baseline", first["name"])


def plain(text: str) -> str:
    """Text with unprintable characters escaped, so that it cannot move the cursor or change colours."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split(" ")))


def print_summary(inspection: Inspection, folder: Path) -> None:
    """Print the classes as a table, then problems, notes and the path of the page."""
    facts = inspection.facts()
    sides = [side for side in ("train", "val", "test", SHIFT) if side in (facts["classes"] or [{}])[0]]
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for column in ("images", *sides, "cannot be used"):
        table.add_column(column, justify="right")
    for row in facts["classes"][:SHOWN]:
        cells = [f"{row[key]:,}" for key in ("images", *sides, "unusable")]
        table.add_row(escape(plain(row["name"])), *cells)
    Output().print(table)
    hidden = len(facts["classes"]) - SHOWN
    ratio = facts["imbalance_ratio"]["all"]
    lines = [f"and {hidden:,} more classes"] if hidden > 0 else []
    lines.append(
        f"{several(facts['images'], 'image')} of {several(len(facts['classes']), 'class')}"
        + (f", the largest {ratio:.1f} times the smallest" if ratio else "")
    )
    lines += [f"{SEVERITIES[problem['severity']]}: {problem['text']}" for problem in facts["problems"]]
    lines += [f"note: {note}" for note in facts["notes"]]
    if facts["ignored"]:
        ignored = ", ".join(f"{n:,} {suffix}" for suffix, n in facts["ignored"].items())
        lines.append(f"note: ignored files without an image extension: {ignored}")
    lines.append(f"page: {folder / 'inspect.html'}")
    for line in lines:
        print_line(plain(line))
