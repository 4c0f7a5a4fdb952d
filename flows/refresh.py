"""The flow `refresh`, run by the command and by deployments; implemented in `challenge`.

MLflow reads the environment at import. A Prefect worker imports this module without the command, so the flow sets the
environment first and then imports the modules that need MLflow.
"""

# No `from __future__ import annotations` here: Prefect builds a model of the flow's parameters in another process and
# cannot resolve annotations that are strings.
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from augpipe.pipeline.experiment import Experiment

from .engine import prefect_api
from .environment import set_environment
from .flow_calls import call, recorded

if TYPE_CHECKING:
    from .challenge import Refreshed


def run(experiment: Experiment, out: Path | None = None) -> "Refreshed":
    """Run `refresh` from the command, on a temporary Prefect server if none is configured.

    UserError for what the pictures show, such as a class without usable ones, before a server starts.
    """
    set_environment()
    from .source_splits import READ, splits_by_seed
    from .startup import local_context

    with local_context(experiment) as context:  # until the end, so that nothing read here is pruned
        before = READ.set(splits_by_seed(experiment, context, experiment.seeds))
        try:
            with prefect_api():
                return call(refresh, experiment, out)
        finally:
            READ.reset(before)


@flow(name="refresh", flow_run_name="refresh {config.name}")
@recorded
def refresh(config: Experiment, out: Path | None = None) -> "Refreshed":
    """If the source or the config changed, run the comparison again and promote the better model.

    config: the experiment. out: the report's folder, by default runs/NAME below AUGPIPE_HOME.
    """
    set_environment()
    from .challenge import refresh as challenge

    return challenge(config, out)
