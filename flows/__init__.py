"""Orchestration: the only place that knows Prefect and MLflow."""

from __future__ import annotations

import os

# Nothing phones home: neither the libraries' usage figures nor their looks for newer versions. Set before
# they are imported, and inherited by every process that a run starts.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
)
# One line a task would bury the progress bars; who wants them sets the level.
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Workers that are ended at once leave semaphores to Python's own tracker, which clears them away, and says so.
os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
# A tracking server that is away is waited for at a run's end (flows.tracking.pending); a single call gives up soon.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
