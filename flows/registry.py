"""Models in service: an experiment's classifier and generator in MLflow's registry, under the alias `champion`."""

from __future__ import annotations

import tempfile
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

from augpipe.core.errors import UserError, is_full
from augpipe.core.store import load_state

from .tracking.models import Logged
from .tracking.pending import is_away

CHAMPION: Final = "champion"
LOOKED: Final = "augpipe.looked"  # tag: the data and the config that were last looked at
WEIGHTS: Final = "augpipe.weights"  # tag: SHA-256 of a version's checkpoint
LEARNED: Final = "learned"  # folder of a run's artifacts
SEEN: Final = "seen.npy"
MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Registry:
    """One registered model: `NAME-classifier` or `NAME-generator`."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client, self.name = client, name

    def champion(self) -> ModelVersion | None:
        """The version in service; None where there is none."""
        try:
            return self._client.get_model_version_by_alias(self.name, CHAMPION)
        except MlflowException as error:
            if error.error_code in MISSING:
                return None
            raise

    def looked(self) -> str:
        """What `looked_at` left; "" at first."""
        try:
            tags = self._client.get_registered_model(self.name).tags
        except MlflowException as error:
            if error.error_code in MISSING:
                return ""
            raise
        return str(tags.get(LOOKED, ""))

    def looked_at(self, what: str) -> None:
        """Keep what data and config the last look was at."""
        self._client.set_registered_model_tag(self.name, LOOKED, what)

    def register(self, logged: Logged, weights: str, tags: Mapping[str, str]) -> ModelVersion:
        """The version of a model with those weights (their SHA-256), new where there is none; no alias moves."""
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
        """Let the alias point to a version: whoever loads `models:/NAME@champion` has it from now on."""
        self._client.set_registered_model_alias(self.name, CHAMPION, version.version)

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Say something of a version."""
        self._client.set_model_version_tag(self.name, version.version, key, value[:5000])

    def weights(
        self, version: ModelVersion, use: Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        """A version's checkpoint, read with `weights_only=True`; UserError where it is none of augpipe's.

        use: tries what it is for.
        """
        with tempfile.TemporaryDirectory(prefix="augpipe-champion-") as folder:
            try:
                place = _fetched(
                    lambda: download_artifacts(
                        artifact_uri=f"models:/{self.name}/{version.version}", dst_path=folder
                    )
                )
                # Nothing else of the model is read, and nothing of it is run.
                found = next(Path(place).rglob("weights.pt"), None)
                if found is None:
                    raise UserError("it holds no weights.pt")
                state = load_state(found)
                use(state)
                return state
            except UnpicklingError:
                # torch's own word advises to load it all the same.
                why = "its weights.pt holds more than weights"
            except (
                UserError, RuntimeError, ValueError, TypeError, LookupError, EOFError, OSError,
                MlflowException,
            ) as error:  # fmt: skip
                if is_away(error) or is_full(error):
                    raise
                why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"version {version.version} of the registered model {self.name!r} is none of augpipe's: {why}; "
            f"let the alias {CHAMPION!r} point to one that is, or remove it"
        )

    def seen(self, version: ModelVersion) -> NDArray[np.uint64] | None:
        """Fingerprints of what a version learned from or was chosen by; None where that is not on record."""
        run, path = version.run_id, f"{LEARNED}/{SEEN}"
        if not run or path not in [one.path for one in self._client.list_artifacts(run, LEARNED)]:
            return None
        with tempfile.TemporaryDirectory(prefix="augpipe-champion-") as folder:
            place = _fetched(lambda: self._client.download_artifacts(run, path, folder))
            found: NDArray[np.uint64] = np.load(place, allow_pickle=False)
            return found

    def keep_seen(self, logged: Logged, prints: NDArray[np.uint64]) -> None:
        """Put on record what a run's model learned from or was chosen by."""
        with tempfile.TemporaryDirectory(prefix="augpipe-champion-") as folder:
            np.save(Path(folder) / SEEN, prints)
            self._client.log_artifact(logged.run, str(Path(folder) / SEEN), LEARNED)


def _fetched(fetch: Callable[[], str]) -> str:
    """Where files were fetched to; a transfer that fails is the server's being away, which MLflow does not say so."""
    try:
        return fetch()
    except MlflowException as error:
        if "failures occurred while downloading" in str(error):
            raise requests.ConnectionError(str(error)) from None
        raise
