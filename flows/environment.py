"""The environment variables of a run."""

from __future__ import annotations

import os

from augpipe.core.errors import UserError

from .proxies import drop_unusable


def set_environment() -> None:
    """Set the variables that Prefect, MLflow and others read.

    Some are read at import: call this before any of these libraries is imported. Processes that a run starts inherit
    them. No import of augpipe changes the environment; only the command and a deployment's flow do.
    """
    # No telemetry and no checks for newer versions.
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
    # One log line per task would bury the progress bars; users who want them set the level.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # Terminated workers leave semaphores, which Python's resource tracker removes with a warning.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    drop_unusable()
    # Servers on this machine are not reached through a proxy.
    hosts = [h for name in ("no_proxy", "NO_PROXY") for h in os.environ.get(name, "").split(",") if h]
    if "*" not in hosts:
        both = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))
        os.environ.update({"NO_PROXY": both, "no_proxy": both})
    # `tracking.pending` retries calls that fail, so a single call should give up soon.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def seconds(name: str, default: float) -> float:
    """An environment variable in seconds; UserError if it is not a finite number of 0 or more."""
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{name} must be seconds, 0 or more; got {text!r}")
    return value
