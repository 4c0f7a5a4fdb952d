"""The flow `refresh`, which the command and deployments run; its work is in `challenge`.

MLflow reads the environment at import. A worker of Prefect's imports this module without the command, so the flow sets
the environment first and then imports what needs MLflow.
"""

# No `from __future__ import annotations` here: Prefect makes a model of the flow's parameters in another process, where it
# does not find the names in annotations that are text.
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from augpipe.pipeline.experiment import Experiment

from .engine import prefect_api
from .environment import set_environment

if TYPE_CHECKING:
    from .challenge import Refreshed


def run(experiment: Experiment, out: Path | None = None) -> "Refreshed":
    """`refresh` from the command: on a Prefect server of its own where none is given."""
    with prefect_api():
        return refresh(experiment, out)


@flow(name="refresh", flow_run_name="refresh {config.name}")
def refresh(config: Experiment, out: Path | None = None) -> "Refreshed":
    """Compare anew where the source or the config changed, and promote the better model.

    config: the experiment. out: where the report goes; runs/NAME below AUGPIPE_HOME by default.
    """
    set_environment()
    from .challenge import refresh as look

    return look(config, out)
