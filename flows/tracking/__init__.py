"""Tracking of runs in MLflow and on Prefect's page."""

from .tracker import Tracker

__all__ = ["Tracker"]
