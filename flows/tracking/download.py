"""Download logged models from MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError, one_line
from augpipe.serving import WEIGHTS

from ..environment import set_environment
from .store import tracking_uri


@contextmanager
def downloaded(address: str) -> Iterator[Path]:
    """The folder of a model's files, deleted when the block ends.

    address: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `models:/ID` or `runs:/RUN/NAME`. Only its weights and their
    description are read later, and none of its code is run. UserError if MLflow has no such model, or one of another kind.
    """
    set_environment()
    mlflow.set_tracking_uri(tracking_uri()[0])
    with tempfile.TemporaryDirectory(prefix="augpipe-model-") as folder:
        try:
            place = Path(download_artifacts(artifact_uri=address, dst_path=folder))
        except (MlflowException, OSError) as error:
            reason = one_line(error)[:200]
            raise UserError(f"cannot get {address} from MLflow: {reason}") from None
        weights = next(place.rglob(WEIGHTS), None)
        if weights is None:
            raise UserError(f"{address} is not a model of augpipe: it has no {WEIGHTS}")
        yield weights.parent
