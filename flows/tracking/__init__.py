"""What a run records in MLflow and on Prefect's page."""

from flows.tracking.tracker import Tracker

__all__ = ["Tracker"]
