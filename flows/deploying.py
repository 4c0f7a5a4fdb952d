"""`refresh` as a deployment of Prefect's: with a schedule, and the config as its parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.schemas.schedules import CronSchedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError
from rich.console import Console

from augpipe.core.errors import UserError
from augpipe.pipeline.experiment import Experiment

from .engine import prefect_api
from .refresh import refresh


def serve(experiment: Experiment, cron: str | None, out: Path | None) -> None:
    """Register the deployment `refresh/NAME` and run what falls due, one run at a time, until stopped.

    On a Prefect server with its page where none is given. UserError for what is no schedule.
    """
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValidationError:
            raise UserError(
                f"--cron takes minute, hour, day of month, month and day of week, as in '0 2 * * *'; got {cron!r}"
            ) from None
    with prefect_api(page=True) as address:
        due = f"at {cron!r}" if cron else "on request"
        Console(stderr=True).print(
            f"serving refresh/{experiment.name} {due}; Prefect at {address}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        refresh.serve(
            name=experiment.name,
            cron=cron,
            parameters=parameters(experiment, out),
            description="Looks at the source; where it changed, compares anew and promotes the better model.",
            limit=1,
            print_starting_message=False,
            # By its module: a path would be looked for below the folder that the command was given in.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )


def parameters(experiment: Experiment, out: Path | None) -> dict[str, Any]:
    """The flow's parameters as a deployment keeps them: plain values."""
    given = {"config": experiment.model_dump(mode="json")}
    return given if out is None else {**given, "out": str(out.absolute())}
