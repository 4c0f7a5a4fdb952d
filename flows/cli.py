"""The `augpipe` command.

Exit status: 0 success, 1 internal error, 2 user error (one line), 3 balanced set not published as a gate does not hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, cast

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

import augpipe
from augpipe.core.errors import UserError, exists, near_name, unknown
from augpipe.core.home import home
from augpipe.core.registry import kinds_in

from .cli_cache import cache
from .cli_completion import completion
from .cli_config import init, schema
from .cli_doctor import doctor
from .cli_models import Form, generate, predict
from .command_line import split_sets
from .cron import check_cron
from .endings import exit_message
from .engine import settle
from .entry import handle_interrupts
from .environment import set_environment
from .loading import check_out_folder, load, load_checked, out_folder
from .output import Json, Lossy, Output, flush_or_discard, print_json, print_summary_json
from .planned import budget_of, load_planned
from .signals import handle_termination

LISTS = ("families", "sources", "metrics", "checks", "classifiers", "losses", "transforms")
GATE = 3  # exit status if a gate does not hold and the set is not published
# Options of several commands. Switches have no --no-... form.
Sets = Annotated[tuple[str, ...], Parameter(name="--set", negative=())]
Out = Annotated[Path | None, Parameter(name="--out")]
Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="augpipe",
    help="Test whether synthetic images help on an imbalanced image set: from which generator, how many, how sure.",
    version=augpipe.__version__,
    suppress_keyboard_interrupt=False,  # `main` prints how to continue
)
app.command(cache)
app.command(generate)
app.command(predict)
app.command(init)
app.command(schema)
app.command(completion)
app.command(doctor)
console = Output()
err = Console(stderr=True)


@app.command
def run(
    config: Path,
    /,
    *,
    set_: Sets = (),
    out: Out = None,
    budget: str | None = None,
    quick: Switch = False,
    explore_only: Switch = False,
    dry_run: Switch = False,
    fresh: Switch = False,
    resume: Switch = False,
    strict: Switch = False,
    json: Json = False,
) -> None:
    """Run a whole comparison of arms, from a config or from images.

    Parameters
    ----------
    config
        A YAML file; or images: a folder with one sub-folder per class, a zip or tar of such a folder, a CSV, JSON
        Lines or Parquet table of files and labels, an .npz file, Parquet files with images, or WebDataset's shards.
    set_
        Override config values: `--set seeds=5 arms.acgan.mix.share=0.1`. Can be repeated.
    out
        Output folder for report.html, scores.csv and the rest (default: runs/NAME below AUGPIPE_HOME).
    budget
        Time that a run on images may take, as 90s, 10m or 2h (default: 30m). Its numbers are fitted to it.
    quick
        A first look within 5 minutes: `--budget 5m --explore-only`.
    explore_only
        Compare the arms once, without the confirm stage: `--set confirm=off`. The verdict is then a first look.
    dry_run
        Print the plan with the expected minutes, and stop. Nothing is written to the output folder.
    fresh
        Recompute everything. By default, results of earlier runs with the same settings, data and code are reused.
    resume
        Continue a stopped run, reusing its finished results. This is also the default.
    strict
        Exit with status 1 if an arm failed. By default the other arms are compared and the report lists the failures.
    json
        Print only JSON: the content of summary.json, and `out`, the output folder.
    """
    if fresh and resume:
        raise UserError("--resume and --fresh are mutually exclusive")
    if explore_only or quick:
        set_ = (*set_, "confirm=off")
    experiment = load_planned(
        config, set_, lambda outline: check_out_folder(outline, out),
        budget_of(config, budget, quick), dry_run=dry_run, fresh=fresh,
    )  # fmt: skip
    if dry_run:
        return
    settle()
    from .compare import run as compare

    handle_interrupts()
    folder = out_folder(experiment, out)
    compared = compare(experiment, folder, fresh)
    summary = compared.results.summary()
    _print_failed(summary)
    if json:
        print_summary_json(folder)
    else:
        _print_summary(summary, folder)
    if compared.lost:
        raise compared.lost
    if strict and (summary["failed"] or summary["confirm"].get("failed")):
        sys.exit(1)


@app.command
def train(
    config: Path,
    /,
    *,
    generator: str,
    seed: int = 0,
    set_: Sets = (),
    out: Out = None,
    resume: Switch = False,
) -> None:
    """Train one generator and write checkpoint.pt, history.csv and samples.png.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts.
    generator
        The generator's name in the config.
    seed
        The replicate to train.
    set_
        Override a config value: `--set generators.cgan.kimg=500`.
    out
        Output folder (default: trained/NAME-GENERATOR-seedN below AUGPIPE_HOME).
    resume
        Continue the training that was stopped in the output folder; its settings must be the same.
    """

    def folder_of(outline: Any) -> Path:
        return out or home() / "trained" / f"{outline.name}-{generator}-seed{seed}"

    def check(outline: Any) -> None:
        from .arguments import check_train

        check_train(outline, generator, seed, folder_of(outline), resume)

    experiment = load_checked(config, set_, check, (generator,))
    folder = folder_of(experiment)
    settle()
    from .train import run as train_one

    handle_interrupts()
    _note_seed(experiment, seed)
    trained, lost = train_one(experiment, generator, seed, folder, resume)
    message = (
        f"best at {trained.best_kimg:g} kimg (val KID {trained.best_metric:.3g}); ended because "
        f"{trained.stopped}; {folder / 'samples.png'}"
    )
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    if lost:
        raise lost


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    """Print the table of arms, the verdict, and the path of the report.

    After a confirm stage the table only describes the first look, so it has no verdicts.
    """
    confirmed = summary["stage"] == "confirm"
    title = "First look at all arms, on the seeds that chose the two of the verdict:"
    table = Table(box=None, pad_edge=False)
    last = () if confirmed else ("verdict",)
    for column in ("arm", "macro recall", f"gain over {summary['baseline']}", "95% interval", *last):  # fmt: skip
        table.add_column(column, justify="left" if column in ("arm", "verdict") else "right")
    for name, arm in summary["arms"].items():
        gain = arm["gain"]
        cells = ("", "", "baseline")
        if gain:
            interval = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
            cells = (f"{100 * gain['mean']:+.1f}", interval, gain["verdict"])
        table.add_row(name, f"{100 * arm['mean']:.1f}", *cells[: 2 if confirmed else 3])
    if confirmed:
        console.print(title, highlight=False, soft_wrap=True)
    console.print(table)
    note = [summary["note"]] if summary["note"] else []
    for line in ("", summary["verdict"], *note, f"report: {folder / 'report.html'}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_failed(summary: dict[str, Any]) -> None:
    for name, why in summary["failed"].items():
        err.print(
            f"arm {name} failed and is not compared: {why}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _note_seed(experiment: Any, seed: int) -> None:
    """Say that a seed is none of the config's, so that nothing of a comparison can be reused."""
    if seed >= 0 and seed not in experiment.seeds:
        have = ", ".join(str(one) for one in experiment.seeds)
        err.print(
            f"seed {seed} is not one of the config's ({have}): its generator is trained for this alone",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


@app.command
def balance(
    config: Path,
    /,
    *,
    arm: str,
    seed: int | None = None,
    set_: Sets = (),
    out: Out = None,
    override: str | None = None,
    real_size: Literal["original", "run"] | None = None,
    format: Form = "folder",
    json: Json = False,
) -> None:
    """Publish an arm's balanced set: its images, their lineage, and a data card.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts.
    arm
        The arm's name in the config. It needs a generator.
    seed
        The replicate to publish (default: the config's first seed).
    set_
        Override a config value: `--set arms.acgan.mix.fill=500`.
    out
        Output folder (default: balanced/NAME-ARM below AUGPIPE_HOME).
    override
        Publish even if a gate does not hold. Takes the reason, which the data card records.
    real_size
        Publish the real pictures at their own size (`original`, the default), or at that of the synthetic ones (`run`).
        npz has one size for all, that of the run.
    format
        folder: class folders and manifest.csv; npz: one array file in MedMNIST's form, with val and test; webdataset:
        tar shards; hf: folder with metadata.csv for Hugging Face datasets; dicom: class folders of DICOM files.
    json
        Print only JSON: `arm`, `seed`, `gates`, `published`, and `out`, the output folder (null if nothing was published).
    """

    def folder_of(outline: Any) -> Path:
        return out or home() / "balanced" / f"{outline.name}-{arm}"

    def check(outline: Any) -> None:
        from .arguments import check_balance, check_form

        check_balance(outline, arm, seed, folder_of(outline), override)
        check_form(format, real_size)

    experiment = load_checked(config, set_, check)
    folder = folder_of(experiment)
    settle()
    from .balance import run as balance_one

    handle_interrupts()
    if seed is not None:
        _note_seed(experiment, seed)
    size = real_size or ("run" if format == "npz" else "original")
    balanced, lost = balance_one(experiment, arm, seed, folder, override, size, format)
    if json:
        print_json(_balanced_values(balanced, folder))
    else:
        _print_gates(balanced)
    _exit_if_held_back(balanced, lost)
    if not json:
        console.print(f"balanced set: {folder}", markup=False, highlight=False, soft_wrap=True)
    if lost:
        raise lost


def _balanced_values(balanced: Any, folder: Path) -> dict[str, Any]:
    published = balanced.holds or balanced.override is not None
    return {
        "arm": balanced.arm.name,
        "seed": balanced.generator.seed,
        "gates": [asdict(gate) for gate in balanced.gates],
        "published": published,
        "out": str(folder) if published else None,
    }


def _print_gates(balanced: Any) -> None:
    for gate in balanced.gates:
        message = f"gate {gate.gate}: {'holds' if gate.holds else 'does not hold'} ({gate.detail})"
        console.print(message, markup=False, highlight=False, soft_wrap=True)


def _exit_if_held_back(balanced: Any, lost: Any) -> None:
    """Exit with GATE if a gate does not hold and nothing was published, also if MLflow misses the record of that."""
    if balanced.override is None and not balanced.holds:
        if lost and (ending := exit_message(lost)):
            _report(ending[1])
        _report(
            "a gate does not hold, and nothing was published; --override REASON publishes anyway"
        )
        sys.exit(GATE)


@app.command
def inspect(
    source: Path,
    /,
    *,
    set_: Sets = (),
    json: Json = False,
    out: Out = None,
) -> None:
    """Inspect images before a run: counts, sizes, duplicates, unusable files, contact sheets.

    Parameters
    ----------
    source
        Images in any form that `run` accepts, or a config, whose source and split are used.
    set_
        Override a value: `--set image.window=full --set source.layout={label}/{group}/*`.
    json
        Print only JSON.
    out
        Output folder for inspect.html, inspect.json and quarantine.csv (default: inspections/NAME below AUGPIPE_HOME).
    """
    if not exists(source):
        raise UserError(f"no config, folder or file {str(source)!r}{near_name(source)}")
    from .inspecting import inspect_source, print_summary

    handle_interrupts()
    inspection, folder = inspect_source(source, set_, out)
    if json:
        print_json(inspection.facts())
    else:
        print_summary(inspection, folder)


@app.command
def refresh(
    config: Path,
    /,
    *,
    set_: Sets = (),
    out: Out = None,
) -> None:
    """If the source changed, run the comparison again and promote the better model in MLflow's registry.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts.
    set_
        Override a config value: `--set promotion.rule="not worse"`.
    out
        Output folder for report.html, scores.csv and the rest (default: runs/NAME below AUGPIPE_HOME).
    """
    experiment = load_checked(config, set_, lambda outline: check_out_folder(outline, out))
    settle()
    from .refresh import run as refresh_once

    handle_interrupts()
    console.print(
        refresh_once(experiment, out).message, markup=False, highlight=False, soft_wrap=True
    )  # fmt: skip


@app.command
def serve(
    config: Path,
    /,
    *,
    cron: str | None = None,
    set_: Sets = (),
    out: Out = None,
) -> None:
    """Register `refresh` as a scheduled deployment and serve it until it is stopped.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts. Prefect's page shows the config as a form.
    cron
        Schedule as minute, hour, day of month, month, day of week: `0 2 * * *` (default: only on request).
    set_
        Override a config value.
    out
        Output folder for report.html, scores.csv and the rest (default: runs/NAME below AUGPIPE_HOME).
    """
    if cron is not None:
        check_cron(cron)
    experiment = load(config, set_)
    settle()
    from .deploying import serve as serve_it

    handle_interrupts()
    serve_it(experiment, cron, out)


@app.command(name="list")
def list_(what: str, /) -> None:
    """List the available families, sources, metrics, checks, classifiers, losses or transforms.

    Parameters
    ----------
    what
        families, sources, metrics, checks, classifiers, losses or transforms.
    """
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    for name in _names(what):
        console.print(name, markup=False, highlight=False)


def _names(what: str) -> Iterable[str]:
    """The names in a list. Imports are local: only the metrics need scikit-learn."""
    if what == "families":
        from augpipe.generators.options import FAMILIES

        return kinds_in(FAMILIES)
    if what == "sources":
        return kinds_in("augpipe.data.sources")
    if what == "losses":
        from augpipe.classifiers.losses import losses

        return losses
    if what == "metrics":
        from augpipe.classifiers import scores
        from augpipe.synthetic import options as synthetic

        figures = (f"fidelity: {name}" for name in (*synthetic.FIGURES, *synthetic.EXTRA))
        return (*scores.metrics, *scores.per_class, "minority_recall", *figures)
    if what == "checks":
        from augpipe.synthetic.options import CHECKS

        return CHECKS
    from augpipe.classifiers.options import CLASSIFIERS, TRANSFORMS

    return CLASSIFIERS if what == "classifiers" else TRANSFORMS


def main() -> None:
    """Entry point of the command; errors with an `exit_message` print one line in place of a traceback."""
    set_environment()
    handle_termination()
    if isinstance(sys.stdout, TextIOWrapper):
        # Class names that a terminal's encoding lacks, as standard error has it; not where the stream was exchanged.
        with suppress(OSError):
            sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr = cast(TextIO, Lossy(sys.stderr))
    try:
        app(
            split_sets(sys.argv[1:]), console=Output(),
            exit_on_error=False, print_error=False, result_action="return_value",
        )  # fmt: skip
    except BaseException as error:
        try:
            message = exit_message(error)
        except (MemoryError, SystemError):  # there is none left to compose a message
            message = 1, "not enough memory"
        if message is None:
            raise
        status, line = message
        _report(line)
        flush_or_discard()
        sys.exit(status)


def _report(line: str) -> None:
    """Print a last line; not by rich, which imports for it what there may be no memory for."""
    # Standard error may be closed or full: the status remains.
    with suppress(OSError, MemoryError):
        if sys.stderr is not None:
            print(f"augpipe: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
