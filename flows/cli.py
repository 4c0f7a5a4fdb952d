"""The `augpipe` command.

Exit status: 0 success, 1 internal error, 2 user error (one line), 3 balanced set not published as a gate does not hold.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

import augpipe
from augpipe.core.errors import UserError, unknown
from augpipe.core.home import home
from augpipe.core.registry import kinds_in

from .cli_cache import cache
from .endings import exit_message, terminated
from .engine import settle
from .entry import handle_interrupts
from .environment import set_environment

CONFIGS = (".yaml", ".yml")
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
console = Console()
err = Console(stderr=True)


@app.command
def run(
    config: Path,
    /,
    *,
    set_: Sets = (),
    out: Out = None,
    fresh: Switch = False,
    resume: Switch = False,
    strict: Switch = False,
) -> None:
    """Run a whole comparison of arms, from a config or from images.

    Parameters
    ----------
    config
        A YAML file; or images: a folder with one sub-folder per class, a zip or tar of such a folder, a CSV or
        Parquet table of files and labels, or an .npz file.
    set_
        Override a config value: `--set seeds=5 --set arms.acgan.mix.share=0.1`.
    out
        Output folder for report.html, scores.csv and the rest (default: runs/NAME below AUGPIPE_HOME).
    fresh
        Recompute everything. By default, results of earlier runs with the same settings, data and code are reused.
    resume
        Continue a stopped run, reusing its finished results. This is also the default.
    strict
        Exit with status 1 if an arm failed. By default the other arms are compared and the report lists the failures.
    """
    if fresh and resume:
        raise UserError("--resume and --fresh are mutually exclusive")
    experiment = _load(config, set_)
    from augpipe.data.sources import place
    from augpipe.report.write import check_out

    folder = out or home() / "runs" / experiment.name
    check_out(folder, place(experiment.source))
    settle()
    from .compare import run as compare

    handle_interrupts()
    summary = compare(experiment, folder, fresh).results.summary()
    _print_summary(summary, folder)
    if strict and summary["failed"]:
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
    experiment = _load(config, set_)
    folder = out or home() / "trained" / f"{experiment.name}-{generator}-seed{seed}"
    settle()
    from .train import run as train_one

    handle_interrupts()
    _note_seed(experiment, seed)
    trained = train_one(experiment, generator, seed, folder, resume)
    message = (
        f"best at {trained.best_kimg:g} kimg (val KID {trained.best_metric:.3g}); ended because "
        f"{trained.stopped}; {folder / 'samples.png'}"
    )
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def _load(config: Path, overrides: tuple[str, ...]) -> Any:
    """Load the experiment and check its folders; nothing is written yet."""
    if not config.exists():
        raise UserError(f"no config or folder {str(config)!r}")
    experiment = _experiment(config, overrides)
    # Imported late, since torch takes seconds: an error in the config is reported at once.
    from augpipe.data.sources import place
    from augpipe.report.write import check_place

    check_place(home(), place(experiment.source), "AUGPIPE_HOME")
    return experiment


def _experiment(config: Path, overrides: tuple[str, ...]) -> Any:
    if config.is_dir() or config.suffix.lower() not in CONFIGS:
        from augpipe.pipeline.defaults import for_source

        experiment, choices = for_source(config, overrides)
        for choice in choices:
            err.print(
                f"chose {choice.key} {choice.value} ({choice.why})",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        return experiment
    from augpipe.pipeline.experiment import load

    return load(config, overrides)


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    """Print the table of arms, the verdict, and the path of the report."""
    table = Table(box=None, pad_edge=False)
    for column in (
        "arm",
        "macro recall",
        f"gain over {summary['baseline']}",
        "95% interval",
        "verdict",
    ):
        table.add_column(column, justify="left" if column in ("arm", "verdict") else "right")
    for name, arm in summary["arms"].items():
        gain = arm["gain"]
        cells = ("", "", "baseline")
        if gain:
            interval = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
            cells = (f"{100 * gain['mean']:+.1f}", interval, gain["verdict"])
        table.add_row(name, f"{100 * arm['mean']:.1f}", *cells)
    console.print(table)
    for name, why in summary["failed"].items():
        err.print(
            f"arm {name} failed and is not compared: {why}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    for line in ("", summary["verdict"], f"report: {folder / 'report.html'}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
) -> None:
    """Publish an arm's balanced set: class folders, manifest.csv with lineage, and a data card.

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
    """
    experiment = _load(config, set_)
    folder = out or home() / "balanced" / f"{experiment.name}-{arm}"
    settle()
    from .balance import run as balance_one

    handle_interrupts()
    if seed is not None:
        _note_seed(experiment, seed)
    balanced = balance_one(experiment, arm, seed, folder, override)
    for gate in balanced.gates:
        message = f"gate {gate.gate}: {'holds' if gate.holds else 'does not hold'} ({gate.detail})"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    if balanced.override is None and not all(gate.holds for gate in balanced.gates):
        err.print(
            "augpipe: a gate does not hold, and nothing was published; --override REASON publishes anyway",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        sys.exit(GATE)
    console.print(f"balanced set: {folder}", markup=False, highlight=False, soft_wrap=True)


@app.command
def inspect(
    source: Path,
    /,
    *,
    set_: Sets = (),
    json: Annotated[bool, Parameter(name="--json", negative=())] = False,
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
    if not source.exists():
        raise UserError(f"no config, folder or file {str(source)!r}")
    from .inspecting import inspect_source, print_json, print_summary

    handle_interrupts()
    inspection, folder = inspect_source(source, set_, out)
    if json:
        print_json(inspection)
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
    experiment = _load(config, set_)
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
    experiment = _load(config, set_)
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
    signal.signal(signal.SIGTERM, terminated)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # a lost terminal; `nohup` ignores it
        signal.signal(signal.SIGHUP, terminated)
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except BaseException as error:
        message = exit_message(error)
        if message is None:
            raise
        status, line = message
        err.print(f"augpipe: {line}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
