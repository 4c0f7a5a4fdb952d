"""Checkpoints as MLflow's models: plain files beside the name of the module that loads them, `augpipe.serving`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow import MlflowClient, pyfunc
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from augpipe.serving import probability_columns


@dataclass(frozen=True)
class Logged:
    """A model that a run has logged."""

    run: str
    model: str


def generator_signature(shape: tuple[int, int, int]) -> ModelSignature:
    """labels int64 (N,) and a seed → uint8 (N,C,H,W)."""
    return ModelSignature(
        Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
        Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
        ParamSchema([ParamSpec("seed", "integer", 0)]),
    )


def classifier_signature(classes: Sequence[str]) -> ModelSignature:
    """Pictures → a label and the probability of each class.

    No input schema: none of MLflow's describes arrays of any size, paths and base64 at once, and it refuses what its
    schema does not describe.
    """
    probabilities = [ColSpec(DataType.float, name) for name in probability_columns(classes)]
    return ModelSignature(outputs=Schema([ColSpec(DataType.string, "label"), *probabilities]))


def log_model(
    client: MlflowClient,
    experiment: str,
    run: str,
    name: str,
    write: Callable[[Path], None],
    signature: ModelSignature,
) -> Logged:
    """Log a model that MLflow's pyfunc loads with `augpipe.serving`; `write` makes the folder of its files.

    Written by parts: MLflow's own `log_model` looks through every installed package and reads the
    run's metrics back one by one, which cost more than all the rest of tracking.
    """
    with tempfile.TemporaryDirectory(prefix="augpipe-model-") as folder:
        write(Path(folder) / "model")  # first: if it refuses, MLflow holds nothing of this model
        logged = client.create_logged_model(experiment, name, source_run_id=run)
        model = Model(run_id=run, signature=signature, model_id=logged.model_id)
        pyfunc.add_to_model(model, loader_module="augpipe.serving", data="model")
        # The loader is augpipe, as installed. It is not named here: whoever held that name on a
        # package registry could run code wherever the model is served.
        needs = "".join(f"{name}=={version(name)}\n" for name in ("mlflow", "numpy", "torch"))
        (Path(folder) / "requirements.txt").write_text(needs, encoding="utf-8")
        model.save(str(Path(folder) / "MLmodel"))
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
    return Logged(run, logged.model_id)
