"""Whether MLflow's default database or server knows a model or run; without importing MLflow, which takes seconds."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from base64 import b64encode
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from augpipe.core.errors import UserError, one_line, unknown
from augpipe.core.home import home

from .addresses import WEB, check_tracking

NAMED: Final = "registered model"
# Form of an address → what it names, the table and the column that have it.
TABLES: Final = (
    (r"models:/([^/@]+)(?:/|@).*", NAMED, "registered_models", "name"),
    (r"models:/([^/@]+)", "logged model", "logged_models", "model_id"),
    (r"runs:/([^/]+)/.*", "run", "runs", "run_uuid"),
)
# Form of an address → where MLflow's REST API has it.
PAGES: Final = (
    (r"models:/([^/@]+)@([^/]+)", "registered-models/alias?name={}&alias={}"),
    (r"models:/([^/@]+)/(\d+)", "model-versions/get?name={}&version={}"),
    (r"models:/([^/@]+)/.*", "registered-models/get?name={}"),
    (r"models:/([^/@]+)", "logged-models/{}"),
    (r"runs:/([^/]+)/.*", "runs/get?run_id={}"),
)
MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
PATIENCE: Final = 5.0  # seconds; a server that is slow is asked again by MLflow


def check_logged(address: str) -> None:
    """UserError if MLflow's server does not answer, or it or the default database has no such model or run.

    Anything else about the address is checked when the model is downloaded.
    """
    check_tracking()
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        if urlsplit(uri).scheme in WEB and (reason := _refusal(uri, address)):
            raise UserError(f"cannot get {address} from MLflow: {one_line(reason)[:200]}")
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


def _refusal(uri: str, address: str) -> str:
    """The server's message that it has no such model or run; "" if it has, or does not say so."""
    for form, page in PAGES:
        if match := re.fullmatch(form, address):
            path = page.format(*(quote(part, safe="") for part in match.groups()))
            request = Request(f"{uri.rstrip('/')}/api/2.0/mlflow/{path}", headers=_authorization())  # noqa: S310 (WEB)
            try:
                urlopen(request, timeout=PATIENCE).close()  # noqa: S310
            except HTTPError as error:
                return _message(error)
            except (OSError, ValueError, HTTPException):  # reported when the model is downloaded
                return ""
            return ""
    return ""


def _message(error: HTTPError) -> str:
    """The message of an answer of MLflow that something is missing; "" of any other."""
    with suppress(OSError, ValueError), error:
        answer = json.loads(error.read(1 << 16))
        if isinstance(answer, dict) and answer.get("error_code") in MISSING:
            return str(answer.get("message") or answer["error_code"])
    return ""


def _authorization() -> dict[str, str]:
    """The header that MLflow's variables of user and password, or token, stand for."""
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _names(database: Path, table: str, column: str) -> list[str] | None:
    """The values of a column; None if the database cannot be read, which MLflow reports."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"SELECT {column} FROM {table}")  # noqa: S608 (names of TABLES)
            return sorted(str(name) for (name,) in rows)
    except sqlite3.Error:
        return None
