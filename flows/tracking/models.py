"""Log checkpoints as MLflow models: plain files, loaded by the module `augpipe.serving`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from mlflow import MlflowClient, pyfunc
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from augpipe import serving
from augpipe.core.files import temporary
from augpipe.core.options import ImageOptions
from augpipe.core.refs import Ref
from augpipe.pipeline.model_files import NotWrittenError, probability_columns
from augpipe.pipeline.records import Prepared, TrainedClassifier, TrainedGenerator

from ..output import report
from .uploads import send_model

REFUSED: Final = re.compile(r"""[/:.%"']""")  # characters of a model's name
SOURCE: Final = "augpipe.run"  # tag of a model: id of the run that logged it
CONTENT: Final = "augpipe.content"  # tag of a model: digest of its files and its signature


@dataclass(frozen=True)
class Logged:
    """A model that a run has logged."""

    run: str
    model: str


def generator_signature(shape: tuple[int, int, int]) -> ModelSignature:
    """labels int64 (N,), a seed, and class counts in place of labels → uint8 (N,C,H,W)."""
    return ModelSignature(
        Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
        Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
        ParamSchema([ParamSpec("seed", "integer", 0), ParamSpec("counts", "string", "")]),
    )


def classifier_signature(classes: Sequence[str]) -> ModelSignature:
    """Images → a label and the probability of each class.

    No input schema: no MLflow schema covers arrays of any size, paths and base64 text together, and MLflow rejects
    inputs outside the schema.
    """
    probabilities = [ColSpec(DataType.float, name) for name in probability_columns(classes)]
    return ModelSignature(outputs=Schema([ColSpec(DataType.string, "label"), *probabilities]))


def logged(run: Run) -> Logged | None:
    """The model that a run has logged, or None."""
    outputs = run.outputs.model_outputs if run.outputs else ()
    return next((Logged(str(run.info.run_id), model.model_id) for model in outputs), None)


def log_model(
    client: MlflowClient, run: Run, name: str, write: Callable[[Path], None], signature: ModelSignature
) -> Logged:
    """Log a model that MLflow's pyfunc loads with `augpipe.serving`; the run's own model if it has one.

    name: as MLflow's list of models shows it; characters that MLflow refuses become `_`. write: creates the folder of
    the model's files.

    A model of the same content that another run of the experiment has logged is linked, not logged again. Completes a
    model that an earlier attempt left unfinished. Does not call MLflow's `log_model`, which scans every
    installed package and reads the run's metrics back one by one: that took longer than all other tracking.
    """
    model = logged(run)
    if model is not None:
        return model
    run_id, experiment = str(run.info.run_id), run.info.experiment_id
    with temporary("augpipe-model-") as folder:
        write(Path(folder) / "model")  # first: if it raises, MLflow has no trace of this model
        content = _content(Path(folder) / "model", signature)
        entity = _logged_before(client, experiment, content)
        if entity is not None:
            return _linked(client, run_id, entity)
        unfinished = client.search_logged_models([experiment], f"tags.`{SOURCE}` = '{run_id}'")
        tags = {SOURCE: run_id, CONTENT: content}
        entity = next(iter(unfinished), None) or client.create_logged_model(
            experiment, REFUSED.sub("_", name), source_run_id=run_id, tags=tags
        )
        described = Model(run_id=run_id, signature=signature, model_id=entity.model_id)
        pyfunc.add_to_model(described, loader_module="augpipe.serving", data="model")
        # augpipe, the loader, is not listed: whoever owns that name on a package registry could run
        # code wherever the model is served.
        requirements = "".join(f"{name}=={version(name)}\n" for name in ("mlflow", "numpy", "torch"))
        (Path(folder) / "requirements.txt").write_text(requirements, encoding="utf-8")
        described.save(str(Path(folder) / "MLmodel"))
        send_model(client, entity.model_id, Path(folder))
    client.finalize_logged_model(entity.model_id, "READY")
    return _linked(client, run_id, entity)


def log_generator(
    client: MlflowClient, run: Run, trained: TrainedGenerator, shape: tuple[int, int, int], reference: Ref | None
) -> Logged | None:
    """Log a generator's model; if it cannot be logged, report why and return None. reference: see `write_generator`."""

    def write(folder: Path) -> None:
        serving.write_generator(folder, trained.checkpoint.path, reference)

    part = f"-{trained.class_model}" if trained.class_model else ""
    title = f"generator-{trained.name}{part}-seed{trained.seed}"
    try:
        return log_model(client, run, title, write, generator_signature(shape))
    except NotWrittenError as error:
        name = f"generator {trained.name}, seed {trained.seed}"
        report(f"the model of {name} was not logged: {error}")
        return None


def log_classifier(
    client: MlflowClient, run: Run, prepared: Prepared, trained: TrainedClassifier, image: ImageOptions
) -> Logged:
    """Log a classifier's model with its class names and image options."""
    classes, spec = prepared.classes, prepared.problem.spec

    def write(folder: Path) -> None:
        serving.write_classifier(folder, trained.state.path, classes, spec, image)

    title = f"classifier-{trained.arm}-seed{trained.seed}"
    return log_model(client, run, title, write, classifier_signature(classes))


def _content(folder: Path, signature: ModelSignature) -> str:
    """SHA-256 of the names and bytes of all files of a folder, and of the signature."""
    digest = hashlib.sha256(repr(signature).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _logged_before(client: MlflowClient, experiment: str, content: str) -> LoggedModel | None:
    """A complete model of this content, or None."""
    models = client.search_logged_models([experiment], f"tags.`{CONTENT}` = '{content}'")
    return next((model for model in models if model.status == LoggedModelStatus.READY), None)


def _linked(client: MlflowClient, run: str, model: LoggedModel) -> Logged:
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    return Logged(run, str(model.model_id))
