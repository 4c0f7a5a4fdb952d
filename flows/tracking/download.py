"""Download logged models from MLflow."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError, one_line
from augpipe.pipeline.model_places import WEIGHTS

from ..environment import set_environment
from .store import tracking_uri


@contextmanager
def downloaded(address: str) -> Iterator[Path]:
    """The folder of a model's files, deleted when the block ends.

    address: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `models:/ID`, `runs:/RUN/NAME`, or `runs:/RUN/generator` and
    `runs:/RUN/classifier` for the model of a run, whatever its name. Only its weights and their description are read
    later, and none of its code is run. UserError if MLflow has no such model, or one of another kind.
    """
    set_environment()
    mlflow.set_tracking_uri(tracking_uri()[0])
    with tempfile.TemporaryDirectory(prefix="augpipe-model-") as folder:
        try:
            place = Path(download_artifacts(artifact_uri=_by_id(address), dst_path=folder))
        except (MlflowException, OSError) as error:
            reason = one_line(error)[:200]
            raise UserError(f"cannot get {address} from MLflow: {reason}") from None
        weights = next(place.rglob(WEIGHTS), None)
        if weights is None:
            raise UserError(f"{address} is not a model of augpipe: it has no {WEIGHTS}")
        yield weights.parent


def _by_id(address: str) -> str:
    """`models:/ID` of `runs:/RUN/generator` or `classifier`; any other address as it is.

    A run's model has a name of its own: with its arm and seed, or that of the run that logged it first.
    """
    match = re.fullmatch(r"runs:/([^/]+)/(generator|classifier)", address)
    if match is None:
        return address
    client = MlflowClient()
    outputs = client.get_run(match[1]).outputs
    for output in outputs.model_outputs if outputs else ():
        name = client.get_logged_model(output.model_id).name
        if name == match[2] or name.startswith(f"{match[2]}-"):
            return f"models:/{output.model_id}"
    return address
