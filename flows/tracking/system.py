"""Processor, memory, disk, network and GPU of this machine as metrics of a run, unless MLflow's variable switches them
off.

MLflow's switch works for its fluent API only, and its monitor ends for good when the server is away once: here MLflow's
samplers are used in a thread that goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mlflow.entities import Metric
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING as SWITCH

from augpipe.core.errors import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

INTERVAL: Final = 10.0  # seconds between samples, if MLflow's variable sets no other
SHORTEST: Final = 0.01  # seconds
ENDING: Final = 2.0  # seconds that the end of a run waits for a sample that is being logged
ON: Final = ("", "true", "1")
MISSING: Final = "psutil is not installed; the run has no system metrics (pip install psutil)"


@contextmanager
def system_metrics(client: MlflowClient, run: str, report: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, log `system/...` to a run every INTERVAL seconds; nothing if the variable SWITCH is false.

    A sample that the server does not accept is lost. report: called with a message if psutil is missing.
    """
    if os.environ.get(SWITCH.name, "").lower() not in ON:
        yield
        return
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # it says that there is no GPU
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run, INTERVAL, tracking_uri=client.tracking_uri)
    except ImportError:
        report(MISSING)
        yield
        return
    except ValueError as error:  # an interval that is no number
        report(f"the run has no system metrics: {one_line(error)}")
        yield
        return
    stop = threading.Event()
    # The monitor's own thread is not started.
    thread = threading.Thread(target=_sample, args=(client, run, monitor, stop), name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(ENDING)


def _sample(client: MlflowClient, run: str, monitor: SystemMetricsMonitor, stop: threading.Event) -> None:
    """Log samples until the event; the step of each is the number of seconds since the run began."""
    began: int | None = None  # milliseconds
    with suppress(Exception):
        _collected(monitor)  # the processor's use is that since the last sample
    while not stop.wait(max(SHORTEST, monitor.sampling_interval)):
        with suppress(Exception):  # of any server, away for any reason
            values, now = _collected(monitor), round(time.time() * 1000)
            began = began or int(client.get_run(run).info.start_time)
            step = (now - began) // 1000
            client.log_batch(run, [Metric(f"system/{name}", value, now, step) for name, value in values.items()])


def _collected(monitor: SystemMetricsMonitor) -> dict[str, float]:
    monitor.collect_metrics()
    values = {name: float(value) for name, value in monitor.aggregate_metrics().items()}
    for sampler in monitor.monitors:
        sampler.clear_metrics()
    return {f"{monitor.node_id}/{name}" if monitor.node_id else name: value for name, value in values.items()}
