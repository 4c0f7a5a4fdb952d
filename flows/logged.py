"""Whether MLflow's default database knows a model or run; without importing MLflow, which takes seconds."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, unknown
from augpipe.core.home import home

from .addresses import check_tracking

NAMED: Final = "registered model"
# Form of an address → what it names, the table and the column that have it.
TABLES: Final = (
    (r"models:/([^/@]+)(?:/|@).*", NAMED, "registered_models", "name"),
    (r"models:/([^/@]+)", "logged model", "logged_models", "model_id"),
    (r"runs:/([^/]+)/.*", "run", "runs", "run_uuid"),
)


def check_logged(address: str) -> None:
    """UserError if MLflow's server does not answer, or its default database has no such model or run.

    Anything else about the address is checked when the model is downloaded.
    """
    check_tracking()
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return
    database = home() / "mlflow.db"
    if not database.exists():
        raise UserError(f"cannot get {address} from MLflow: no run has logged a model yet (no {database})")
    for form, what, table, column in TABLES:
        if match := re.fullmatch(form, address):
            names = _names(database, table, column)
            if names is None or match[1] in names:
                return
            if what == NAMED:
                raise unknown(f"{what} in MLflow:", match[1], names)
            raise UserError(f"unknown {what} in MLflow: {match[1]!r}")


def _names(database: Path, table: str, column: str) -> list[str] | None:
    """The values of a column; None if the database cannot be read, which MLflow reports."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"SELECT {column} FROM {table}")  # noqa: S608 (names of TABLES)
            return sorted(str(name) for (name,) in rows)
    except sqlite3.Error:
        return None
