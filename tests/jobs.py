"""Jobs for stages that tests call by hand."""

from __future__ import annotations

from pathlib import Path

import yaml
from tiny import CONFIG

from augpipe.pipeline import experiment as config
from augpipe.pipeline.records import Job


def job(tmp_path: Path, *overrides: str) -> Job:
    values = yaml.safe_load(CONFIG)
    experiment = config.build(values, ["runner.device=cpu", "runner.precision=32-true", *overrides])
    return Job(experiment=experiment, store=tmp_path / "store", progress=tmp_path / "p", threads=1)


def silent(told: str, done: float) -> None:
    pass
