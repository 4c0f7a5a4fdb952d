"""`augpipe refresh` and `augpipe serve`: repeat a comparison when the data changed, once or on a schedule."""

from __future__ import annotations

from pathlib import Path

from .command_line import Out, Sets
from .cron import check_cron
from .engine import settle
from .entry import handle_interrupts
from .load_config import check_out_folder, load, load_checked
from .output import print_line


def refresh(config: Path, /, *, set_: Sets = (), out: Out = None) -> None:
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
    print_line(refresh_once(experiment, out).message)


def serve(config: Path, /, *, cron: str | None = None, set_: Sets = (), out: Out = None) -> None:
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
    from .deployment import serve as serve_it

    handle_interrupts()
    serve_it(experiment, cron, out)
