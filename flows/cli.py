"""The `augpipe` command.

Exit status: 0 done, 2 the user's mistake (one line), 1 ours, 3 a balanced set whose gate does not hold.
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
from .endings import ending, terminated
from .engine import settle
from .environment import set_environment

CONFIGS = (".yaml", ".yml")
LISTS = ("families", "sources", "metrics", "checks", "classifiers", "losses", "transforms")
GATE = 3  # exit status of a set that was not published because a gate does not hold
# Options of several commands. A switch has no --no-... beside it.
Sets = Annotated[tuple[str, ...], Parameter(name="--set", negative=())]
Out = Annotated[Path | None, Parameter(name="--out")]
Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="augpipe",
    help="Do synthetic images help on an imbalanced image set: from which generator, how many, how sure?",
    version=augpipe.__version__,
    suppress_keyboard_interrupt=False,  # `main` tells how to go on
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
    """Compare arms end to end, from a config or from pictures.

    Parameters
    ----------
    config
        A YAML file; or pictures: a folder with a sub-folder for each class, a zip or tar of one, a CSV or
        Parquet table of files and labels, an .npz.
    set_
        Change a value of the config: `--set seeds=5 --set arms.acgan.mix.share=0.1`.
    out
        Where report.html, scores.csv and the rest go (default: runs/NAME below AUGPIPE_HOME).
    fresh
        Make everything anew; by default what an earlier run made under equal settings, data and code is recalled.
    resume
        Go on with a run that was stopped: what it finished is recalled. This is what happens without it, too.
    strict
        Exit status 1 where an arm failed; without it the others are compared, and the report says what failed.
    """
    if fresh and resume:
        raise UserError(
            "--resume recalls what was made before, and --fresh makes it anew; give one"
        )
    experiment = _given(config, set_)
    from augpipe.data.sources import place
    from augpipe.report.write import check_out

    folder = out or home() / "runs" / experiment.name
    check_out(folder, place(experiment.source))
    settle()
    from .compare import run as compare

    summary = compare(experiment, folder, fresh).results.summary()
    _tell(summary, folder)
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
    """Train one generator of a config: checkpoint.pt, history.csv and samples.png.

    Parameters
    ----------
    config
        A YAML file, or pictures as `run` takes them.
    generator
        Its name in the config.
    seed
        Which of its replicates.
    set_
        Change a value of the config: `--set generators.cgan.kimg=500`.
    out
        Where the files go (default: trained/NAME-GENERATOR-seedN below AUGPIPE_HOME).
    resume
        Go on with the training that was stopped in the out folder; its settings must be the same.
    """
    experiment = _given(config, set_)
    folder = out or home() / "trained" / f"{experiment.name}-{generator}-seed{seed}"
    settle()
    from .train import run as train_one

    trained = train_one(experiment, generator, seed, folder, resume)
    told = (
        f"best at {trained.best_kimg:g} kimg (val KID {trained.best_metric:.3g}); ended because "
        f"{trained.stopped}; {folder / 'samples.png'}"
    )
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def _given(config: Path, overrides: tuple[str, ...]) -> Any:
    """The experiment, its places checked; nothing is written yet."""
    if not config.exists():
        raise UserError(f"no config or folder {str(config)!r}")
    experiment = _experiment(config, overrides)
    # Only now what takes seconds to import (torch): an error in the config is reported at once.
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


def _tell(summary: dict[str, Any], folder: Path) -> None:
    """The arms as a table, the verdict, and where the report is."""
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
            told = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
            cells = (f"{100 * gain['mean']:+.1f}", told, gain["verdict"])
        table.add_row(name, f"{100 * arm['mean']:.1f}", *cells)
    console.print(table)
    for name, why in summary["failed"].items():
        err.print(
            f"arm {name} failed and is not compared: {why}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    for line in ("", summary["verdict"], f"report: {folder / 'report.html'}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
        A YAML file, or pictures as `run` takes them.
    arm
        Its name in the config; one with a generator.
    seed
        Which of its replicates (default: the config's first).
    set_
        Change a value of the config: `--set arms.acgan.mix.fill=500`.
    out
        Where the set goes (default: balanced/NAME-ARM below AUGPIPE_HOME).
    override
        Publish although a gate does not hold; the reason, which the card records.
    """
    experiment = _given(config, set_)
    folder = out or home() / "balanced" / f"{experiment.name}-{arm}"
    settle()
    from .balance import run as balance_one

    found = balance_one(experiment, arm, seed, folder, override)
    for gate in found.gates:
        told = f"gate {gate.gate}: {'holds' if gate.holds else 'does not hold'} ({gate.told})"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    if found.override is None and not all(gate.holds for gate in found.gates):
        err.print(
            "augpipe: a gate does not hold, and nothing was published; --override REASON publishes all the same",
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
    """Look at images before a run: counts, sizes, duplicates, files that cannot be used, contact sheets.

    Parameters
    ----------
    source
        Pictures as `run` takes them, or a config: its source and its split.
    set_
        Change a value: `--set image.window=full --set source.layout={label}/{group}/*`.
    json
        Print the facts as JSON, and nothing else.
    out
        Where inspect.html, inspect.json and quarantine.csv go (default: inspections/NAME below AUGPIPE_HOME).
    """
    if not source.exists():
        raise UserError(f"no config, folder or file {str(source)!r}")
    from .inspecting import look, print_json, tell

    found, folder = look(source, set_, out)
    if json:
        print_json(found)
    else:
        tell(found, folder)


@app.command
def refresh(
    config: Path,
    /,
    *,
    set_: Sets = (),
    out: Out = None,
) -> None:
    """Look at the source; where it changed, compare anew and promote the better model in MLflow's registry.

    Parameters
    ----------
    config
        A YAML file, or pictures as `run` takes them.
    set_
        Change a value of the config: `--set promotion.rule="not worse"`.
    out
        Where report.html, scores.csv and the rest go (default: runs/NAME below AUGPIPE_HOME).
    """
    experiment = _given(config, set_)
    settle()
    from .refresh import run as look_again

    console.print(
        look_again(experiment, out).told, markup=False, highlight=False, soft_wrap=True
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
        A YAML file, or pictures as `run` takes them: the deployment's parameters, which Prefect's page shows as a form.
    cron
        When: minute, hour, day of month, month, day of week, as in `0 2 * * *`; without it only on request.
    set_
        Change a value of the config.
    out
        Where report.html, scores.csv and the rest go (default: runs/NAME below AUGPIPE_HOME).
    """
    experiment = _given(config, set_)
    settle()
    from .deploying import serve as serve_it

    serve_it(experiment, cron, out)


@app.command(name="list")
def list_(what: str, /) -> None:
    """Print the families, sources, metrics, checks, classifiers, losses or transforms there are.

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
    """Each list from where its names are; only the metrics need scikit-learn."""
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
    """The command's entry: what stopped it is told in one line where a traceback says no more (see `endings`)."""
    set_environment()
    signal.signal(signal.SIGTERM, terminated)
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except BaseException as error:
        told = ending(error)
        if told is None:
            raise
        status, line = told
        err.print(f"augpipe: {line}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
