"""Serve `refresh` as a Prefect deployment, with a schedule and the config as its parameter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect.client.schemas.schedules import CronSchedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError
from rich.console import Console

from augpipe.core.errors import UserError
from augpipe.pipeline.experiment import Experiment

from .engine import key_file, prefect_api
from .refresh import refresh


def serve(experiment: Experiment, cron: str | None, out: Path | None) -> None:
    """Register the deployment `refresh/NAME` and execute its scheduled runs, one at a time, until stopped.

    Starts a Prefect server with its page if none is configured. UserError for an invalid schedule.
    """
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValidationError:
            raise UserError(
                f"--cron takes minute, hour, day of month, month and day of week, as in '0 2 * * *'; got {cron!r}"
            ) from None
    with prefect_api(page=True) as address:
        is_local = "PREFECT_API_AUTH_STRING" in os.environ and key_file(address).exists()
        key = f" (its page asks for the key in {key_file(address)})" if is_local else ""
        schedule = f"at {cron!r}" if cron else "on request"
        Console(stderr=True).print(
            f"serving refresh/{experiment.name} {schedule}; Prefect at {address}{key}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        refresh.serve(
            name=experiment.name,
            cron=cron,
            parameters=parameters(experiment, out),
            description="If the source changed, runs the comparison again and promotes the better model.",
            limit=1,
            print_starting_message=False,
            # A module path: a file path would be resolved from the folder where the command was run.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )


def parameters(experiment: Experiment, out: Path | None) -> dict[str, Any]:
    """The flow's parameters as plain values, as a deployment stores them."""
    values = {"config": experiment.model_dump(mode="json")}
    return values if out is None else {**values, "out": str(out.absolute())}
