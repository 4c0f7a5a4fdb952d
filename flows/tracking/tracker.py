"""What a command records in MLflow, and when: a parent run, and a child for each generator and arm of each seed.

Everything is logged by the process that runs the flow, from what is stored: workers do not know MLflow, no two processes
write to one SQLite file, and a child's times are those of its work. Each method may be called again with the same
records: what is logged already is found by its key (see `runs`) and left as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from rich.console import Console

from augpipe import serving
from augpipe.core import fingerprints as code
from augpipe.core.errors import UserError
from augpipe.core.store import Ref
from augpipe.pipeline.cache import content
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import (
    Prepared,
    Recipe,
    Scored,
    Timed,
    TrainedClassifier,
    TrainedGenerator,
)
from augpipe.report.balanced_set import FILES, Balanced

from ..engine import bare
from ..failures import Failures
from . import models, names, runs
from .names import Point
from .pending import Pending, hurried
from .store import dataset, where

TAG: Final = 5000  # characters of a tag's value
P = ParamSpec("P")


def report(line: str) -> None:
    """Print a line for the user."""
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def _kept(
    method: Callable[Concatenate[Tracker, P], None],
) -> Callable[Concatenate[Tracker, P], None]:
    """Run the method now or, while the server is away, later; it must be idempotent."""

    @wraps(method)
    def call(tracker: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
        tracker._pending.add(partial(method, tracker, *args, **kwargs))

    return call


class Tracker:
    """The record of one command. parent: id of its run. logged: models by kind, name and seed."""

    def __init__(self, experiment: Experiment, client: MlflowClient | None = None) -> None:
        self._experiment = experiment
        self._uri, self._artifacts = where()
        mlflow.set_tracking_uri(self._uri)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self._client = client or MlflowClient(self._uri)
        self._pending = Pending(report)
        self._id = self._pending.result(self._experiment_id)
        self.parent = ""
        self.logged: dict[tuple[str, str, int], models.Logged] = {}

    def _experiment_id(self) -> str:
        """The id of the MLflow experiment, which is created if missing."""
        name = self._experiment.name
        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=self._artifacts))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return self._experiment_id()  # another run has created it at this moment
        if known.lifecycle_stage != "active":
            raise UserError(
                f"the MLflow experiment {name!r} is deleted; restore it, or set another name"
            )
        return str(known.experiment_id)

    @contextmanager
    def comparison(
        self, prepared: Prepared, kind: str = "comparison", what: str = ""
    ) -> Iterator[Tracker]:
        """The parent run: open while the block runs, then FINISHED, FAILED or, if stopped, KILLED.

        The same command on the same data and code continues its earlier run. what: goes into the run's name; by default
        the number of arms.
        """
        name = f"{self._experiment.name}: {what or f'{len(self._experiment.arms)} arms'}"
        tags = {
            "augpipe.kind": kind,
            "augpipe.data": prepared.fingerprint,
            "augpipe.source": prepared.intake.fingerprint,
        }
        config = self._experiment.model_dump(mode="json")
        key = runs.key_of(name, tags, config, _code(self._experiment))
        self.parent = self._pending.result(
            lambda: runs.open_parent(self._client, self._id, key, name, tags)
        )
        status = "KILLED"
        try:
            self._describe(prepared)
            yield self
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if status == "FINISHED":
                self._pending.add(lambda: self._client.set_terminated(self.parent, status))
                self._pending.finish()
            else:
                with hurried():
                    self._client.set_terminated(self.parent, status)
                    runs.end_abandoned(self._client, self._id)

    @_kept
    def _describe(self, prepared: Prepared) -> None:
        """The config as params, the data's counts, and the data sets with their digests."""
        self._log_new(
            names.flat(self._experiment.model_dump(mode="json")), names.data_points(prepared)
        )
        sets = {split: getattr(prepared.splits, split) for split in prepared.counts}
        name = self._experiment.name
        inputs = [
            _input(ref, f"{name}-{context}", context)
            for context, ref in {**sets, "source": prepared.data}.items()
        ]
        self._client.log_inputs(self.parent, inputs)

    @_kept
    def generator(self, prepared: Prepared, trained: TrainedGenerator) -> None:
        """A child run for a trained generator: losses over kimg, previews, the model."""
        name, seed, part = trained.name, trained.seed, trained.part
        tags = {"generator": name, **({"part": part} if part else {})}
        kind, title = ("generator part", f"{name} {part}") if part else ("generator", name)
        run = self._child(kind, title, seed, trained.checkpoint.sha256, trained.time, **tags)
        model = models.logged(run) if run.info.status == "FINISHED" else None
        if model is None:
            model = self._generator_model(run, prepared, trained)
            config = names.flat(self._experiment.generators[name].model_dump(mode="json"))
            params = {**config, "stopped": trained.stopped}
            runs.log_previews(self._client, run, trained.previews, trained.time)
            runs.complete(self._client, run, trained.time, params, names.history_points(trained))
        if not part and model is not None:
            self.logged["generator", name, seed] = model

    @_kept
    def arm(
        self, prepared: Prepared, recipe: Recipe, trained: TrainedClassifier, scored: Scored
    ) -> None:
        """A child run for an arm and seed: what was mixed, the training, the scores, the model."""
        name, seed = trained.arm, trained.seed
        arm = next(arm for arm in self._experiment.arms if arm.name == name)
        digests = [content(recipe), trained.state.sha256, scored.table.sha256]
        made_by = arm.made_by or "none"
        run = self._child("arm", name, seed, digests, trained.time, arm=name, generator=made_by)
        model = models.logged(run) if run.info.status == "FINISHED" else None
        if model is None:
            model = self._classifier_model(run, prepared, trained)
            points = names.arm_points(recipe, prepared, trained, scored)
            params = names.flat({"arm": arm.model_dump(mode="json")})
            inputs = []
            if recipe.synthetic is not None:
                inputs.append(_input(recipe.synthetic, f"{made_by}-seed{seed}", "synthetic"))
            runs.complete(self._client, run, trained.time, params, points, inputs)
        self.logged["classifier", name, seed] = model

    @_kept
    def failed(self, failures: Failures, arms: Mapping[str, str]) -> None:
        """A child run, FAILED, for each generator and arm that failed, and a tag that names the arms."""
        if not arms:
            return
        for kind, items in (("generator", failures.of_generators()), ("arm", failures.of_arms())):
            for (name, seed), why in items:
                now = Timed(began=time.time(), seconds=0)
                tags = {kind: name, "failed": why}
                run = self._child(kind, name, seed, why, now, **tags)
                self._client.set_terminated(run.info.run_id, "FAILED")
        self._client.set_tag(self.parent, runs.FAILED, ", ".join(arms)[:TAG])

    @_kept
    def balanced(self, found: Balanced, out: Path | None) -> None:
        """A child run for a balanced set: its figures, its gates, and its card if it was published."""
        arm, generator, timed = found.arm.name, found.generator, found.measured.time
        gates = [f"{g.gate}: {g.holds}, {g.told}" for g in found.gates]
        published, override = str(out is not None).lower(), found.override or ""
        digests = [found.made.images.sha256, found.measured.table.sha256]
        run = self._child(
            "balanced set", arm, generator.seed, [*digests, gates, published, override], timed,
            arm=arm, generator=generator.name, published=published, override=override,
        )  # fmt: skip
        if run.info.status != "FINISHED":
            points = names.fidelity_points(found.fidelity, found.prepared.classes)
            params = {f"gate.{at}": gate for at, gate in enumerate(gates)}
            name = f"{generator.name}-seed{generator.seed}"
            inputs = [_input(found.made.images, name, "synthetic")]
            for file in FILES if out is not None else ():
                self._client.log_artifact(run.info.run_id, str(Path(str(out)) / file))
            runs.complete(self._client, run, timed, params, points, inputs)

    @_kept
    def fidelity(self, table: pd.DataFrame, classes: Sequence[str]) -> None:
        """Fidelity of each generator's images, on the parent run."""
        generators = list(dict.fromkeys(table.generator))
        points = [
            point
            for name, safe in zip(generators, names.safe_names(generators), strict=True)
            for point in names.fidelity_points(
                table[table.generator == name], classes, f"fidelity/{safe}"
            )
        ]
        self._log_new({}, points)

    @_kept
    def result(self, out: Path, sentence: str, gains: Mapping[str, Mapping[str, float]]) -> None:
        """The verdict, the gains, and the out folder's files, on the parent run."""
        arms = [arm.name for arm in self._experiment.arms]
        safe = dict(zip(arms, names.safe_names(arms), strict=True))
        points = [
            Point(f"{kind}/{safe[arm]}", value)
            for arm, values in gains.items()
            for kind, value in values.items()
        ]
        self._log_new({}, points)
        self._client.set_tag(self.parent, "augpipe.verdict", sentence[:TAG])
        self._client.log_artifacts(self.parent, str(out))

    def cost(self) -> None:
        """Log the processor seconds that tracking itself has taken."""
        points = [Point("tracking_seconds", self._pending.seconds)]
        self._pending.add(lambda: self._log_new({}, points))

    @property
    def address(self) -> str:
        """Where a browser finds the parent run; "" if the store is a file."""
        if not self._uri.startswith("http"):
            return ""
        return f"{bare(self._uri).rstrip('/')}/#/experiments/{self._id}/runs/{self.parent}"

    def _child(
        self, kind: str, name: str, seed: int, content: Any, timed: Timed, **tags: str
    ) -> Run:
        """The child run of this content, which began when its work began."""
        key = runs.key_of(self.parent, kind, name, seed, content)
        own = {f"augpipe.{key}": value for key, value in tags.items()}
        own |= {MLFLOW_PARENT_RUN_ID: self.parent, "augpipe.kind": kind, "augpipe.seed": str(seed)}
        title = f"{name} seed {seed}"
        return runs.open_child(self._client, self._id, key, title, timed.began, own)

    def _generator_model(
        self, run: Run, prepared: Prepared, trained: TrainedGenerator
    ) -> models.Logged | None:
        """Log a generator's model; None, with a message, for one that cannot be logged."""
        derives = self._experiment.generators[trained.name].derives
        reference = trained.learned if derives else None

        def write(folder: Path) -> None:
            serving.write_generator(folder, trained.checkpoint.path, reference)

        signature = models.generator_signature(prepared.problem.spec.shape)
        try:
            return models.log_model(self._client, run, "generator", write, signature)
        except serving.NotLoggedError as error:
            name = f"generator {trained.name}, seed {trained.seed}"
            report(f"the model of {name}, is not logged: {error}")
            return None

    def _classifier_model(
        self, run: Run, prepared: Prepared, trained: TrainedClassifier
    ) -> models.Logged:
        """Log a classifier's model with its class names and image options."""
        spec, image = prepared.problem.spec, self._experiment.image

        def write(folder: Path) -> None:
            serving.write_classifier(folder, trained.state.path, prepared.classes, spec, image)

        signature = models.classifier_signature(prepared.classes)
        return models.log_model(self._client, run, "classifier", write, signature)

    def _log_new(self, params: Mapping[str, Any], points: Sequence[Point]) -> None:
        """Params, and metrics whose value is not the parent run's latest."""
        latest = self._client.get_run(self.parent).data.metrics
        changed = [point for point in points if latest.get(point.name) != point.value]
        now = Timed(began=time.time(), seconds=0)
        runs.log_values(self._client, self.parent, params, changed, now)


def _input(images: Ref, name: str, context: str) -> DatasetInput:
    return DatasetInput(dataset(images, name), [InputTag("mlflow.data.context", context)])


def _code(experiment: Experiment) -> Any:
    """The code that results depend on, by fingerprint and versions; the moment, if it was edited since the start."""
    families = {config.kind for config in experiment.generators.values()}
    modules = ["augpipe.pipeline.compare", *(f"augpipe.generators.models.{k}" for k in families)]
    try:
        return [code.fingerprint(modules), dict(code.libraries())]
    except code.ChangedError:
        return time.time()
