"""Models of an experiment in MLflow's registry; the alias `champion` marks the version in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
import requests
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from augpipe.core.errors import UserError, is_full, one_line
from augpipe.core.files import temporary
from augpipe.core.store import load_state

from .tracking.models import Logged
from .tracking.pending import is_away
from .tracking.uploads import send_file

CHAMPION: Final = "champion"
LOOKED: Final = "augpipe.looked"  # tag: the data and the config of the last complete refresh
WEIGHTS: Final = "augpipe.weights"  # tag: SHA-256 of a version's checkpoint
LEARNED: Final = "learned"  # folder in a run's artifacts
SEEN: Final = "seen.npy"
MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Registry:
    """One registered model: `NAME-classifier` or `NAME-generator`."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client, self.name = client, name

    def champion(self) -> ModelVersion | None:
        """The version in service, or None."""
        try:
            return self._client.get_model_version_by_alias(self.name, CHAMPION)
        except MlflowException as error:
            if error.error_code in MISSING:
                return None
            raise

    def last_state(self) -> str:
        """The state that `record_state` stored last, or ""."""
        try:
            tags = self._client.get_registered_model(self.name).tags
        except MlflowException as error:
            if error.error_code in MISSING:
                return ""
            raise
        return str(tags.get(LOOKED, ""))

    def record_state(self, state: str) -> None:
        """Store the state of data and config at the last refresh."""
        self._client.set_registered_model_tag(self.name, LOOKED, state)

    def register(self, logged: Logged, weights: str, tags: Mapping[str, str]) -> ModelVersion:
        """The version with these weights (their SHA-256), created if missing; aliases do not change."""
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in self._client.search_model_versions(f"name = '{self.name}'"):
            if version.tags.get(WEIGHTS) == weights:
                for key, value in tags.items():
                    self.tag(version, key, value)
                return version
        return self._client.create_model_version(
            self.name,
            source=f"models:/{logged.model}",
            run_id=logged.run,
            model_id=logged.model,
            tags={key: value[:5000] for key, value in tags.items()} | {WEIGHTS: weights},
        )

    def promote(self, version: ModelVersion) -> None:
        """Move the alias to a version, which `models:/NAME@champion` then loads."""
        self._client.set_registered_model_alias(self.name, CHAMPION, version.version)

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(self.name, version.version, key, value[:5000])

    def weights(self, version: ModelVersion, use: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """A version's checkpoint, read with `weights_only=True`; UserError if it is not an augpipe model.

        use: called with the checkpoint to test it.
        """
        with temporary("augpipe-champion-") as folder:
            try:
                model = _fetch(
                    lambda: download_artifacts(artifact_uri=f"models:/{self.name}/{version.version}", dst_path=folder)
                )
                # No other file of the model is read, and none of its code is run.
                path = next(Path(model).rglob("weights.pt"), None)
                if path is None:
                    raise UserError("it has no weights.pt")
                state = load_state(path)
                use(state)
                return state
            except UnpicklingError:
                # Not torch's message, which advises to load the file anyway.
                why = "its weights.pt contains more than weights"
            except (
                UserError,
                RuntimeError,
                ValueError,
                TypeError,
                LookupError,
                EOFError,
                OSError,
                MlflowException,
            ) as error:
                if is_away(error) or is_full(error):
                    raise
                why = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise UserError(
            f"version {version.version} of the registered model {self.name!r} is not an augpipe model: {why}; "
            f"move the alias {CHAMPION!r} to a version that is, or remove it"
        )

    def seen(self, version: ModelVersion) -> NDArray[np.uint64] | None:
        """Fingerprints of the images that a version was trained or selected on; None if not recorded."""
        run, path = version.run_id, f"{LEARNED}/{SEEN}"
        if not run or path not in [file.path for file in self._client.list_artifacts(run, LEARNED)]:
            return None
        with temporary("augpipe-champion-") as folder:
            file = _fetch(lambda: self._client.download_artifacts(run, path, folder))
            prints: NDArray[np.uint64] = np.load(file, allow_pickle=False)
            return prints

    def log_seen(self, logged: Logged, prints: NDArray[np.uint64]) -> None:
        """Log the fingerprints of the images that a run's model was trained or selected on."""
        with temporary("augpipe-champion-") as folder:
            np.save(Path(folder) / SEEN, prints)
            send_file(self._client, logged.run, Path(folder) / SEEN, LEARNED)


def _fetch(fetch: Callable[[], str]) -> str:
    """Path of the downloaded files; a failed transfer raises ConnectionError, as for an unreachable server."""
    try:
        return fetch()
    except MlflowException as error:
        if "failures occurred while downloading" in str(error):
            raise requests.ConnectionError(str(error)) from None
        raise
