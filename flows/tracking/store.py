"""Where MLflow keeps its records: the user's server or store, else a file below AUGPIPE_HOME."""

from __future__ import annotations

import os
import warnings
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.core.store import Ref

from ..engine import PATIENCE, bare, bare_text


def check_store() -> None:
    """UserError where the tracking store that is set cannot be one, or does not answer."""
    _take_password()
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    scheme = urlsplit(given).scheme
    if scheme in ("http", "https"):
        try:
            httpx.get(given.rstrip("/") + "/health", timeout=PATIENCE)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(
                f"no MLflow server answers at MLFLOW_TRACKING_URI {bare(given)}: {bare_text(str(error))}"
            ) from None
    elif given:
        try:
            MlflowClient(given)
        except MlflowException as error:
            line = bare_text(" ".join(str(error).split()))
            raise UserError(f"MLFLOW_TRACKING_URI {bare(given)}: {line[:300]}") from None


def _take_password() -> None:
    """Hand a server's user and password to MLflow apart: it repeats the whole address in what it tells of failures."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https"):
        return
    if "@" not in parts.netloc:
        if "@" in given:
            raise UserError(
                "MLFLOW_TRACKING_URI has an @ behind a / or a ?: in a password they are written %2F and %3F"
            )
        return
    for name, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
        if value is not None:
            os.environ[f"MLFLOW_TRACKING_{name}"] = unquote(value)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    os.environ["MLFLOW_TRACKING_URI"] = urlunsplit(plain)


def where() -> tuple[str, str | None]:
    """Tracking URI and, for our own file, where its artifacts go."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given, None
    place = home()
    place.mkdir(parents=True, exist_ok=True)
    artifacts = (place / "artifacts").as_uri()
    # Without a root of its own, a store on a file makes `mlruns` in the working directory.
    os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", artifacts)
    return f"sqlite:///{place / 'mlflow.db'}", artifacts


def dataset(ref: Ref, name: str) -> Any:
    """A stored image set as MLflow's data set, with our digest (MLflow keeps 36 characters)."""
    with warnings.catch_warnings():
        # A local path is one of its sources under two names.
        warnings.simplefilter("ignore")
        source = resolve_dataset_source(str(ref.path))
    # MLflow's own class leaves an abstract property unfilled, which only a type checker minds.
    data = MetaDataset(source, name=name, digest=ref.sha256[:36])  # type: ignore[abstract]
    return data._to_mlflow_entity()
