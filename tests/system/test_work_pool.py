"""prefect.yaml: what it deploys can be loaded, and its config is one."""

from __future__ import annotations

from pathlib import Path

import yaml
from prefect.utilities.importtools import import_object

from augpipe.pipeline.experiment import Experiment, build
from flows.refresh import refresh

ROOT = Path(__file__).resolve().parents[2]


def test_every_deployment_is_one_that_a_worker_can_run() -> None:
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    assert told["deployments"]
    for deployment in told["deployments"]:
        served = import_object(deployment["entrypoint"])  # the package is installed under another name
        assert served.name == refresh.name and served.fn.__code__ == refresh.fn.__code__
        assert isinstance(build(deployment["parameters"]["config"]), Experiment)
        assert deployment["concurrency_limit"] == 1 and deployment["work_pool"]["name"] == "augpipe"
