"""MLflow's tracking store: the user's server or store, else a file below AUGPIPE_HOME."""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError, one_line
from augpipe.core.home import home, make_folder, make_home
from augpipe.core.refs import Ref

from ..connections import within
from ..databases import ensure_mlflow, sqlite_url
from ..engine import PATIENCE, bare, bare_text
from ..quiet import quiet_logs
from .pending import PAGE, error_line, is_away

CALL: Final = 60.0  # seconds for a call of MLflow's client; it has a limit for each part of the answer


def check_store() -> None:
    """UserError if MLFLOW_TRACKING_URI is invalid, its server does not answer, or the default file cannot be used.

    The default file is not created.
    """
    quiet_logs()
    _move_password()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        try:
            health = within(PATIENCE, partial(httpx.get, uri.rstrip("/") + "/health", timeout=PATIENCE))
            within(CALL, partial(_check_answer, health, uri))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise UserError(
                f"no MLflow server answers at MLFLOW_TRACKING_URI {bare(uri)}: {bare_text(str(error))}"
            ) from None
    elif uri:
        try:
            MlflowClient(uri)
        except MlflowException as error:
            line = bare_text(one_line(error))
            raise UserError(f"MLFLOW_TRACKING_URI {bare(uri)}: {line[:300]}") from None
    elif (home() / "mlflow.db").exists():
        tracking_uri()


def _check_answer(health: httpx.Response, uri: str) -> None:
    """UserError if a page answers in place of the server, or the server refuses calls.

    health: the answer to a request that MLflow answers in text. A gateway may answer it with a page or a refusal and
    pass the calls of MLflow's client, which has the user's password or token, so a call decides.
    """
    page = health.is_redirect or (health.is_success and "html" in health.headers.get("content-type", ""))
    if health.is_success and not page:
        return
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except MlflowException as error:
        line = error_line(error)
        if line == PAGE:
            to = f", which sends on to {bare(health.headers['location'])}" if health.is_redirect else ""
            raise UserError(f"{PAGE} at MLFLOW_TRACKING_URI {bare(uri)}{to}") from None
        if not is_away(error):  # for one that is away the run waits
            raise UserError(f"the tracking server at MLFLOW_TRACKING_URI {bare(uri)} refuses calls: {line}") from None


def _move_password() -> None:
    """Move user and password from the URI to MLflow's own variables, since its error messages repeat the URI."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    if "@" not in parts.netloc:
        if "@" in uri:
            raise UserError(
                "MLFLOW_TRACKING_URI has an @ after a / or a ?; in a password they must be written %2F and %3F"
            )
        return
    for name, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
        if value is not None:
            os.environ[f"MLFLOW_TRACKING_{name}"] = unquote(value)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    os.environ["MLFLOW_TRACKING_URI"] = urlunsplit(plain)


def tracking_uri() -> tuple[str, str | None]:
    """The tracking URI, and the artifact folder's URI if the store is the default file."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri, None
    folder = make_home()
    make_folder(folder / "artifacts")
    artifacts = (folder / "artifacts").as_uri()
    # Without this variable, a file store creates `mlruns` in the working directory.
    os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", artifacts)
    ensure_mlflow(folder / "mlflow.db", artifacts)
    return sqlite_url(folder / "mlflow.db"), artifacts


def dataset_input(ref: Ref, name: str, context: str) -> DatasetInput:
    """A stored image set as an input of a run, with the first 36 characters of its SHA-256 (MLflow's limit)."""
    with warnings.catch_warnings():
        # MLflow warns that two of its source types match a local path.
        warnings.simplefilter("ignore")
        source = resolve_dataset_source(str(ref.path))
    # MLflow's class does not define an abstract property, which only type checkers report.
    data = MetaDataset(source, name=name, digest=ref.sha256[:36])  # type: ignore[abstract]
    return DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
