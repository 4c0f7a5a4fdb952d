"""Processor, memory, disk, network and GPU of this machine as metrics of a run,
where MLflow's variable switches them on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING as SWITCH

MISSING: Final = f"{SWITCH.name} needs psutil (pip install 'augpipe[servers]'); the run has no system metrics"


@contextmanager
def system_metrics(run: str, uri: str, report: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, log `system/...` to a run every 10 seconds; nothing unless the variable SWITCH is true.

    MLflow's own switch works for its fluent API only. report: called with a message if psutil is missing.
    """
    if not SWITCH.get():
        yield
        return
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    except ImportError:
        report(MISSING)
        yield
        return
    # It says when it starts and ends, and warns of a server that is away, which `pending` reports.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    monitor = SystemMetricsMonitor(run, resume_logging=True, tracking_uri=uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
