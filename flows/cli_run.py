"""`augpipe run`: compare the arms of an experiment."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import Parameter
from rich.table import Table

from augpipe.core.errors import UserError
from augpipe.export_formats import Format, check_format

from .command_line import Json, Out, Sets, Switch
from .engine import settle
from .entry import handle_interrupts
from .load_config import check_out_folder, out_folder
from .output import Output, print_line, print_summary_json, report
from .planned import budget_of, load_planned


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of `augpipe run`."""

    set_: Sets = ()
    """Override config values: `--set seeds=5 arms.acgan.mix.share=0.1`. Can be repeated."""
    out: Out = None
    """Output folder for report.html, scores.csv and the rest (default: runs/NAME below AUGPIPE_HOME)."""
    budget: str | None = None
    """Time that a run on images may take, as 90s, 10m or 2h (default: 30m). Its numbers are fitted to it."""
    quick: Switch = False
    """A first look within 5 minutes: `--budget 5m --explore-only`."""
    explore_only: Switch = False
    """Compare the arms once, without the confirm stage: `--set confirm=off`. The verdict is then a first look."""
    dry_run: Switch = False
    """Print the plan with the expected minutes, and stop. Nothing is written to the output folder."""
    fresh: Switch = False
    """Recompute everything. By default, results of earlier runs with the same settings, data and code are reused."""
    resume: Switch = False
    """Continue a stopped run, reusing its finished results. This is also the default."""
    strict: Switch = False
    """Exit with status 1 if an arm failed. By default the other arms are compared and the report lists the failures."""
    export: Format | None = None
    """Write the models in this format too, for programs without augpipe, below exported/; see `augpipe export`."""
    json: Json = False
    """Print only JSON: the content of summary.json, and `out`, the output folder."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """The config's values that the options replace."""
        without_confirm = self.explore_only or self.quick
        return (*self.set_, "confirm=off") if without_confirm else self.set_


DEFAULTS = RunOptions()


def run(config: Path, /, *, options: RunOptions = DEFAULTS) -> None:
    """Run a whole comparison of arms, from a config or from images.

    Parameters
    ----------
    config
        A YAML file; or images: a folder with one sub-folder per class, a zip or tar of such a folder, a CSV, JSON
        Lines or Parquet table of files and labels, an .npz file, Parquet files with images, or WebDataset's shards.
    """
    if options.fresh and options.resume:
        raise UserError("--resume and --fresh are mutually exclusive")
    if options.export is not None:
        check_format(options.export, option="--export")
    experiment = load_planned(
        config,
        options.overrides,
        lambda outline: check_out_folder(outline, options.out),
        budget_of(config, options.budget, options.quick),
        dry_run=options.dry_run,
        fresh=options.fresh,
    )
    if options.dry_run:
        return
    settle()
    from .compare import run as compare

    handle_interrupts()
    folder = out_folder(experiment, options.out)
    compared = compare(experiment, folder, options.fresh, form=options.export)
    summary = compared.results.summary()
    for name, why in summary["failed"].items():
        report(f"arm {name} failed and is not compared: {why}")
    if options.json:
        print_summary_json(folder)
    else:
        _print_summary(summary, folder)
    if compared.lost:
        raise compared.lost
    if options.strict and (summary["failed"] or summary["confirm"].get("failed")):
        sys.exit(1)


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    """Print the table of arms, the verdict, and the path of the report.

    After a confirm stage the table only describes the first look, so it has no verdicts.
    """
    from augpipe.comparison.options import LABELS

    confirmed = summary["stage"] == "confirm"
    title = "First look at all arms, on the seeds that chose the two of the verdict:"
    if confirmed and summary["confirm"]["pooled_seeds"]:
        title = "Both arms on the first seeds, which count in the verdict:"
    table = Table(box=None, pad_edge=False)
    last = () if confirmed else ("verdict",)
    metric = LABELS[summary["metric"]]
    for column in ("arm", metric, f"gain over {summary['baseline']}", "95% interval", *last):
        table.add_column(column, justify="left" if column in ("arm", "verdict") else "right")
    for name, arm in summary["arms"].items():
        gain = arm["gain"]
        cells = ("", "", "baseline")
        if gain:
            ends = "low high" if gain["joint_low"] is None else "joint_low joint_high"
            interval = " to ".join(f"{100 * gain[end]:+.1f}" for end in ends.split())
            cells = (f"{100 * gain['mean']:+.1f}", interval, gain["verdict"])
        table.add_row(name, f"{100 * arm['mean']:.1f}", *cells[: 2 if confirmed else 3])
    if confirmed:
        print_line(title)
    Output().print(table)
    note = [summary["note"]] if summary["note"] else []
    for line in ("", summary["verdict"], *note, f"report: {folder / 'report.html'}"):
        print_line(line)
