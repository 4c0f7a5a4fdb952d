"""Send files to MLflow's artifact store, and check that it has them.

A page that answers every request with status 200, such as that of a login, answers uploads too, and MLflow takes that
for success.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from .pending import PAGE

Listed = Callable[[str | None], Sequence[FileInfo]]


def send_file(client: MlflowClient, run: str, file: Path, place: str | None = None) -> None:
    """Send a file to a run, below `place`; MlflowException if the store does not have it afterwards."""
    client.log_artifact(run, str(file), place)
    _check(lambda path: client.list_artifacts(run, path), file.parent, place, [file])


def send_folder(client: MlflowClient, run: str, folder: Path, place: str | None = None) -> None:
    """Send the files of a folder to a run, as `send_file`."""
    client.log_artifacts(run, str(folder), place)
    _check(lambda path: client.list_artifacts(run, path), folder, place, folder.rglob("*"))


def send_model(client: MlflowClient, model: str, folder: Path) -> None:
    """Send the files of a folder to a logged model, as `send_file`."""
    client.log_model_artifacts(model, str(folder))
    _check(lambda path: client.list_logged_model_artifacts(model, path), folder, None, folder.rglob("*"))


def _check(listed: Listed, root: Path, place: str | None, paths: Iterable[Path]) -> None:
    """MlflowException for a file below `root` that the store lacks below `place`, or has in another size; one by which
    the server is away if a page answers."""
    by_folder: dict[str, dict[str, int]] = {}
    for path in paths:
        if path.is_file():
            name = PurePosixPath(place or "") / path.relative_to(root).as_posix()
            folder = "" if str(name.parent) == "." else str(name.parent)
            by_folder.setdefault(folder, {})[str(name)] = path.stat().st_size
    for folder, sizes in by_folder.items():
        try:
            stored = {file.path: file.file_size for file in listed(folder or None)}
        except ValueError as error:  # the answer is not JSON
            raise MlflowException(PAGE, TEMPORARILY_UNAVAILABLE) from error
        for file_name, size in sizes.items():
            if file_name not in stored or stored[file_name] not in (None, size):
                raise MlflowException(f"the artifact store took {file_name} and does not have it")
