"""Record a command in MLflow: a parent run, and a child run for each generator and arm of each seed.

The process that runs the flow logs everything, from stored results: workers do not use MLflow, no two processes write
to one SQLite file, and a child's times are those of its work. Methods are idempotent: a run that was logged already is
looked up by its key (see `runs`) and left unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from augpipe.pipeline.cache import content
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared, Recipe, Scored, Timed, TrainedClassifier, TrainedGenerator
from augpipe.report.balanced_set import Balanced
from augpipe.report.out import BALANCED_FILES, HUGGING_FACE

from ..engine import bare
from ..failures import Failures
from ..output import report
from . import models, names, runs
from .names import Point
from .pending import Lost, Pending, TrackingLostError, hurried
from .store import dataset_input, tracking_uri
from .system import system_metrics
from .uploads import send_file, send_folder

TAG: Final = 5000  # maximum characters of a tag's value
P = ParamSpec("P")

Method: TypeAlias = Callable[Concatenate["Tracker", P], None]


def _queued(what: str) -> Callable[[Method[P]], Method[P]]:
    """Decorator: run the method now, or later if the server is unavailable; it must be idempotent.

    what: what it logs; the name and seed of a record among its arguments are added.
    """

    def decorate(method: Method[P]) -> Method[P]:
        @wraps(method)
        def call(tracker: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
            names = (_name(arg) for arg in args)
            title = next((f"{what} {name}" for name in names if name), what)
            tracker._pending.add(partial(method, tracker, *args, **kwargs), title)

        return call

    return decorate


def _name(record: object) -> str:
    """`acgan, seed 0` of a trained generator or classifier; "" of anything else."""
    if isinstance(record, TrainedGenerator):
        return f"{record.name}, {record.scope}seed {record.seed}"
    return f"{record.arm}, seed {record.seed}" if isinstance(record, TrainedClassifier) else ""


class Tracker:
    """Tracks one command.

    parent: id of its run. logged: models by kind, name and seed. lost: why MLflow misses a part of a complete command,
    or None.
    """

    def __init__(self, experiment: Experiment, client: MlflowClient | None = None) -> None:
        self._experiment = experiment
        self._uri, self._artifacts = tracking_uri()
        mlflow.set_tracking_uri(self._uri)
        self._client = client or MlflowClient(self._uri)
        self._pending = Pending(report)
        self._id = self._pending.result(lambda: runs.experiment_id(self._client, experiment.name, self._artifacts))
        self.parent = ""
        self.logged: dict[tuple[str, str, int], models.Logged] = {}
        self.lost: Lost = None
        self._failed: dict[str, None] = {}  # arms of both stages, in order

    @contextmanager
    def comparison(self, prepared: Prepared, kind: str = "comparison", what: str = "") -> Iterator[Tracker]:
        """The parent run: open while the block runs, then FINISHED, FAILED or, if stopped, KILLED.

        If the results of a complete block could not all be logged, `lost` says why: the command delivers them first.
        The same command on the same data and code continues its earlier run. what: the second part of the run's name,
        by default the number of arms.
        """
        name = f"{self._experiment.name}: {what or f'{len(self._experiment.arms)} arms'}"
        tags = {
            "augpipe.kind": kind,
            "augpipe.data": prepared.fingerprint,
            "augpipe.source": prepared.intake.fingerprint,
        }
        config = self._experiment.model_dump(mode="json")
        key = runs.key_of(name, tags, config, runs.code_of(self._experiment))
        self.parent = self._pending.result(lambda: runs.open_parent(self._client, self._id, key, name, tags))
        status = "KILLED"
        try:
            self._describe(prepared)
            with runs.heartbeats(self._client, self.parent), system_metrics(self._client, self.parent, report):
                yield self
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if status == "FINISHED":
                self._pending.add(self._close, "the run's end")
                self._finish()
            else:
                with hurried():
                    self._client.set_terminated(self.parent, status)
                    runs.end_abandoned(self._client, self._id)

    def _finish(self) -> None:
        try:
            self._pending.finish()
        except TrackingLostError as error:
            self.lost = error

    def _close(self) -> None:
        status = "FAILED" if self._pending.refused else "FINISHED"
        self._client.set_terminated(self.parent, status)

    @_queued("the config")
    def _describe(self, prepared: Prepared) -> None:
        """Log the config as params, the data's counts, and the data sets with their digests."""
        self._log_new(names.flat(self._experiment.model_dump(mode="json")), names.data_points(prepared))
        sets = {split: getattr(prepared.splits, split) for split in prepared.counts}
        name = self._experiment.name
        inputs = [
            dataset_input(ref, f"{name}-{context}", context)
            for context, ref in {**sets, "source": prepared.data}.items()
        ]
        self._client.log_inputs(self.parent, inputs)

    @_queued("generator")
    def generator(self, prepared: Prepared, trained: TrainedGenerator) -> None:
        """Log a child run for a trained generator: losses over kimg, previews, the model."""
        name, seed, part = trained.name, trained.seed, trained.class_model
        tags = {"generator": name, **({"part": part} if part else {})}
        kind, title = ("generator part", f"{name} {part}") if part else ("generator", name)
        run = self._child(kind, title, seed, trained.checkpoint.sha256, trained.time, **tags)
        model = models.logged(run) if run.info.status == "FINISHED" else None
        if model is None:
            config = self._experiment.generators[name]
            reference = trained.learned if config.draws_from_images else None
            shape = prepared.problem.spec.shape
            model = models.log_generator(self._client, run, trained, shape, reference)
            params = {**names.flat(config.model_dump(mode="json")), "stopped": trained.stopped}
            runs.log_previews(self._client, run, trained.previews, trained.time)
            runs.complete(self._client, run, trained.time, params, names.history_points(trained))
        if not part and model is not None:
            self.logged["generator", name, seed] = model

    @_queued("arm")
    def arm(self, prepared: Prepared, recipe: Recipe, trained: TrainedClassifier, scored: Scored) -> None:
        """Log a child run for an arm and seed: the training data, the training, the scores, the model."""
        name, seed = trained.arm, trained.seed
        arm = next(arm for arm in self._experiment.arms if arm.name == name)
        digests = [content(recipe), trained.state.sha256, scored.table.sha256]
        generator = arm.made_by or "none"
        tags = {"arm": name, "generator": generator, "knowledge": self._experiment.knowledge()[name]}
        run = self._child("arm", name, seed, digests, trained.time, **tags)
        model = models.logged(run) if run.info.status == "FINISHED" else None
        if model is None:
            image = self._experiment.image
            model = models.log_classifier(self._client, run, prepared, trained, image)
            points = names.arm_points(recipe, prepared, trained, scored)
            params = names.flat({"arm": arm.model_dump(mode="json")})
            inputs = []
            if recipe.synthetic is not None:
                inputs.append(dataset_input(recipe.synthetic, f"{generator}-seed{seed}", "synthetic"))
            runs.complete(self._client, run, trained.time, params, points, inputs)
        self.logged["classifier", name, seed] = model

    @_queued("the failures")
    def failed(self, failures: Failures, arms: Mapping[str, str]) -> None:
        """Log a FAILED child run for each failed generator and arm,
        and a tag with the failed arms of all stages so far.
        """
        if not arms:
            return
        for kind, items in (("generator", failures.of_generators()), ("arm", failures.of_arms())):
            for (name, seed), why in items:
                now = Timed(began=time.time(), seconds=0)
                tags = {kind: name, "failed": why}
                run = self._child(kind, name, seed, why, now, **tags)
                self._client.set_terminated(run.info.run_id, "FAILED")
        self._failed |= dict.fromkeys(arms)
        self._client.set_tag(self.parent, runs.FAILED, ", ".join(self._failed)[:TAG])

    @_queued("the balanced set")
    def balanced(self, balanced: Balanced, out: Path | None) -> None:
        """Log a child run for a balanced set: its fidelity, its gates, and its card if it was published."""
        arm, generator, timed = balanced.arm.name, balanced.generator, balanced.measured.time
        gates = [f"{g.gate}: {g.holds}, {g.detail}" for g in balanced.gates]
        published, override = str(out is not None).lower(), balanced.override or ""
        digests = [balanced.made.images.sha256, balanced.measured.table.sha256]
        run = self._child(
            "balanced set",
            arm,
            generator.seed,
            [*digests, gates, published, override],
            timed,
            arm=arm,
            generator=generator.name,
            published=published,
            override=override,
        )
        if run.info.status != "FINISHED":
            points = names.fidelity_points(balanced.fidelity, balanced.prepared.classes)
            params = {f"gate.{at}": gate for at, gate in enumerate(gates)}
            name = f"{generator.name}-seed{generator.seed}"
            inputs = [dataset_input(balanced.made.images, name, "synthetic")]
            files = [Path(str(out)) / file for file in (*BALANCED_FILES, HUGGING_FACE)]
            for file in files if out is not None else ():
                if file.is_file():
                    send_file(self._client, run.info.run_id, file)
            runs.complete(self._client, run, timed, params, points, inputs)

    @_queued("the fidelity")
    def fidelity(self, table: pd.DataFrame, classes: Sequence[str]) -> None:
        """Log the fidelity of each generator's images to the parent run."""
        generators = list(dict.fromkeys(table.generator))
        points = [
            point
            for name, safe in zip(generators, names.safe_names(generators), strict=True)
            for point in names.fidelity_points(table[table.generator == name], classes, f"fidelity/{safe}")
        ]
        self._log_new({}, points)

    @_queued("the confirm stage")
    def confirmed(self, values: Mapping[str, float], decision: str) -> None:
        """Log the decision of the confirm stage and its figures to the parent run."""
        self._log_new({}, [Point(f"confirm/{name}", value) for name, value in values.items()])
        self._client.set_tag(self.parent, "augpipe.decision", decision)

    @_queued("the verdict")
    def result(self, out: Path, sentence: str, gains: Mapping[str, Mapping[str, float]]) -> None:
        """Log the verdict, the gains, and the files of the output folder to the parent run."""
        arms = [arm.name for arm in self._experiment.arms]
        safe = dict(zip(arms, names.safe_names(arms), strict=True))
        points = [
            Point(f"test/{kind}/{safe[arm]}", value) for arm, values in gains.items() for kind, value in values.items()
        ]
        self._log_new({}, points)
        self._client.set_tag(self.parent, "augpipe.verdict", sentence[:TAG])
        send_folder(self._client, self.parent, out)

    def cost(self) -> None:
        """Log the CPU seconds spent on tracking."""
        points = [Point("tracking_seconds", self._pending.seconds)]
        self._pending.add(lambda: self._log_new({}, points), "the cost of tracking")

    @property
    def address(self) -> str:
        """URL of the parent run's page; "" if the store is a file."""
        if not self._uri.startswith("http"):
            return ""
        # Without the parameter, MLflow's page shows what the browser chose last, by default the one for language
        # models.
        page = f"{bare(self._uri).rstrip('/')}/#/experiments/{self._id}/runs/{self.parent}"
        return f"{page}?workflowType=machine_learning"

    def _child(self, kind: str, name: str, seed: int, content: Any, timed: Timed, **tags: str) -> Run:
        """The child run of this content, with the start time of its work."""
        key = runs.key_of(self.parent, kind, name, seed, content)
        child_tags = {f"augpipe.{key}": value for key, value in tags.items()}
        child_tags |= {MLFLOW_PARENT_RUN_ID: self.parent, "augpipe.kind": kind, "augpipe.seed": str(seed)}
        title = f"{name} seed {seed}"
        return runs.open_child(self._client, self._id, key, title, timed.began, child_tags)

    def _log_new(self, params: Mapping[str, Any], points: Sequence[Point]) -> None:
        """Log params, and the metrics whose value differs from the parent run's latest."""
        latest = self._client.get_run(self.parent).data.metrics
        changed = [point for point in points if latest.get(point.name) != point.value]
        now = Timed(began=time.time(), seconds=0)
        runs.log_values(self._client, self.parent, params, changed, now)
