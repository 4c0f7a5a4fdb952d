"""MLflow: one parent run a comparison, a child for each generator and arm of each seed.

Everything is written by the process that runs the flow, from what tasks left behind, in batches: workers
know nothing of MLflow, no two processes write to one SQLite file, and a child's times are those of its work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from PIL import Image
from rich.console import Console

from augpipe import serving
from augpipe.core.errors import UserError
from augpipe.core.processes import this_process
from augpipe.core.store import load_table
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

from .engine import bare
from .failures import Failures
from .figures import Point, arm_points, fidelity_points, flat, safe_metrics, safe_names
from .models import Logged, classifier_signature, generator_signature, log_model
from .orphans import PROCESS, end_orphans
from .outbox import Outbox, away, hurried
from .tracking_store import dataset, where

BATCH: Final = 1000  # metrics in one call, the most that MLflow takes
PARAMS: Final = 100  # params in one call, likewise


def _say(told: str) -> None:
    Console(stderr=True).print(told, markup=False, highlight=False, soft_wrap=True)


class Tracker:
    """The tracking of one comparison. `seconds`: the processor time that logging has taken so far.

    A new store's tables are made once, before the first run, and not counted.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._uri, artifacts = where()
        mlflow.set_tracking_uri(self._uri)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self._real = MlflowClient(self._uri)
        self._outbox = Outbox(self._real, _say)
        self._client = self._outbox.client
        self._id = self._outbox.now(lambda: self._place(artifacts))
        self.parent = ""
        self.seconds = 0.0
        self.logged: dict[tuple[str, str, int], Logged] = {}  # by kind, name and seed

    def _place(self, artifacts: str | None) -> str:
        """The MLflow experiment's id; made where there is none."""
        name = self._experiment.name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another run's, of this moment; or our own, whose answer was lost.
                found = self._real.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage != "active":
            raise UserError(
                f"the MLflow experiment {name!r} is deleted; restore it, or set another name"
            )
        return str(found.experiment_id) if found is not None else ""

    @contextmanager
    def _cost(self) -> Iterator[None]:
        """Count the block's processor time into `self.seconds`: beside busy workers, wall time is mostly theirs."""
        begun = time.thread_time()
        try:
            yield
        finally:
            self.seconds += time.thread_time() - begun

    @contextmanager
    def comparison(
        self, prepared: Prepared, kind: str = "comparison", what: str = ""
    ) -> Iterator[Tracker]:
        """The parent run: open while the block runs, then FINISHED, FAILED or, where stopped, KILLED.

        what: said in its name; by default the number of arms.
        """
        with self._cost():
            self._outbox.now(lambda: end_orphans(self._client, self._id))
            run = self._outbox.now(
                lambda: self._client.create_run(
                    self._id,
                    run_name=f"{self._experiment.name}: {what or f'{len(self._experiment.arms)} arms'}",
                    tags={
                        "augpipe.kind": kind,
                        PROCESS: this_process(),
                        "augpipe.data": prepared.fingerprint,
                        "augpipe.source": prepared.intake.fingerprint,
                    },
                )
            )
            self.parent = str(run.info.run_id)
        status = "KILLED"
        try:
            self._put(lambda: self._describe(prepared))
            yield self
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if status == "FINISHED":
                self._outbox.put(lambda: self._client.set_terminated(self.parent, status))
                self._outbox.flush()
            else:
                # Who stops a run does not wait for a server: the next run ends what this one leaves open.
                with hurried():
                    self._real.set_terminated(self.parent, status)

    def _put(self, entry: Callable[[], object]) -> None:
        with self._cost():
            self._outbox.put(entry)

    @contextmanager
    def _ended(self, run: str, timed: Timed) -> Iterator[None]:
        """See to it that a child is not left open, whatever the block does; where the server is away, it goes on."""
        end = round((timed.began + timed.seconds) * 1000)
        try:
            yield
        except BaseException as error:
            if not away(error):
                with hurried():
                    status = "FAILED" if isinstance(error, Exception) else "KILLED"
                    self._real.set_terminated(run, status, end)
            raise
        self._client.set_terminated(run, "FINISHED", end)

    def _describe(self, prepared: Prepared) -> None:
        """The config as params, the data's counts, and the data sets with their digests."""
        params = flat(self._experiment.model_dump(mode="json"))
        counts = {
            f"real_count/{split}/{name}": float(n)
            for split, per in prepared.counts.items()
            for name, n in zip(safe_names(prepared.classes), per.values(), strict=True)
        }
        intake = prepared.intake
        counts |= {
            "source_images": float(intake.images),
            "quarantined": float(intake.quarantined),
            "removed_duplicates": float(intake.removed),
        }
        self._log(self.parent, params, [Point(k, v) for k, v in counts.items()], prepared.time)
        inputs = [
            DatasetInput(
                dataset(getattr(prepared.splits, split), f"{self._experiment.name}-{split}"),
                [InputTag("mlflow.data.context", split)],
            )
            for split in prepared.counts
        ]
        whole = dataset(prepared.data, f"{self._experiment.name}-source")
        inputs.append(DatasetInput(whole, [InputTag("mlflow.data.context", "source")]))
        self._client.log_inputs(self.parent, inputs)

    def generator(self, prepared: Prepared, trained: TrainedGenerator) -> None:
        """A child run for a trained generator: losses over kimg, previews, the model."""
        self._put(lambda: self._generator(prepared, trained))

    def _generator(self, prepared: Prepared, trained: TrainedGenerator) -> None:
        with ExitStack() as ended:
            own = {"part": trained.part} if trained.part else {}
            run = self._child(
                "generator part" if trained.part else "generator",
                f"{trained.name} {trained.part}".strip(),
                trained.seed, trained.time, generator=trained.name, **own,
            )  # fmt: skip
            ended.enter_context(self._ended(run, trained.time))
            logged = self._generator_model(run, prepared, trained)
            if logged is not None and not trained.part:
                self.logged["generator", trained.name, trained.seed] = logged
            table = load_table(trained.history)
            # Ticks of a small budget may share a step, but no two share step and time.
            named = safe_metrics([str(name) for name in table.metric.unique()])
            metrics = [
                Point(
                    named[str(row.metric)],
                    float(row.value),
                    round(float(row.kimg)),
                    float(row.seconds),
                )
                for row in table.itertuples()
            ]
            metrics += [
                Point("best_kimg", trained.best_kimg),
                Point("best_val_kid", trained.best_metric),
                Point("seconds", trained.time.seconds),
            ]
            config = self._experiment.generators[trained.name].model_dump(mode="json")
            self._log(run, {**flat(config), "stopped": trained.stopped}, metrics, trained.time)
            for kimg, ref in trained.previews:
                with Image.open(ref.path) as picture:
                    self._client.log_image(
                        run,
                        picture.convert("RGB"),
                        key="preview",
                        step=round(kimg),
                        synchronous=True,
                    )

    def arm(
        self,
        prepared: Prepared,
        recipe: Recipe,
        trained: TrainedClassifier,
        scored: Scored,
    ) -> None:
        """A child run for an arm and seed: what was mixed, how it learned, what it scored, the model."""
        self._put(lambda: self._arm(prepared, recipe, trained, scored))

    def _arm(
        self, prepared: Prepared, recipe: Recipe, trained: TrainedClassifier, scored: Scored
    ) -> None:
        with ExitStack() as ended:
            own = next(arm for arm in self._experiment.arms if arm.name == trained.arm)
            run = self._child(
                "arm",
                trained.arm,
                trained.seed,
                trained.time,
                arm=trained.arm,
                generator=own.made_by or "none",
            )
            ended.enter_context(self._ended(run, trained.time))
            logged = self._classifier_model(run, prepared, trained)
            self.logged["classifier", trained.arm, trained.seed] = logged
            metrics = arm_points(recipe, prepared, trained, scored)
            self._log(run, flat({"arm": own.model_dump(mode="json")}), metrics, trained.time)
            if recipe.synthetic is not None:
                made = dataset(recipe.synthetic, f"{own.made_by}-seed{trained.seed}")
                self._client.log_inputs(
                    run, [DatasetInput(made, [InputTag("mlflow.data.context", "synthetic")])]
                )

    def result(self, out: Path, sentence: str, gains: Mapping[str, Mapping[str, float]]) -> None:
        """The verdict, the gains, and the out folder's files, on the parent run."""
        now = Timed(began=time.time(), seconds=0)  # once: told again, it is the same point
        self._put(lambda: self._result(out, sentence, gains, now))

    def _result(
        self, out: Path, sentence: str, gains: Mapping[str, Mapping[str, float]], now: Timed
    ) -> None:
        arms = [arm.name for arm in self._experiment.arms]
        names = dict(zip(arms, safe_names(arms), strict=True))
        points = [
            Point(f"{kind}/{names[arm]}", value)
            for arm, figures in gains.items()
            for kind, value in figures.items()
        ]
        self._log(self.parent, {}, points, now)
        self._client.set_tag(self.parent, "augpipe.verdict", sentence[:5000])
        self._client.log_artifacts(self.parent, str(out))

    def failed(self, failures: Failures, arms: Mapping[str, str]) -> None:
        """A child run, FAILED, for each generator and arm that failed, and a tag that names the arms."""
        if arms:
            now = Timed(began=time.time(), seconds=0)
            self._put(lambda: self._failed(failures, arms, now))

    def _failed(self, failures: Failures, arms: Mapping[str, str], now: Timed) -> None:
        for (name, seed), why in failures.of_generators():
            run = self._child("generator", name, seed, now, generator=name, failed=why)
            self._client.set_terminated(run, "FAILED")
        for (name, seed), why in failures.of_arms():
            run = self._child("arm", name, seed, now, arm=name, failed=why)
            self._client.set_terminated(run, "FAILED")
        self._client.set_tag(self.parent, "augpipe.failed", ", ".join(arms)[:5000])

    def balanced(self, found: Balanced, out: Path | None) -> None:
        """A child run for a balanced set: its figures, its gates, and its card where it was published."""
        self._put(lambda: self._balanced(found, out))

    def _balanced(self, found: Balanced, out: Path | None) -> None:
        with ExitStack() as ended:
            run = self._child(
                "balanced set", found.arm.name, found.generator.seed, found.measured.time,
                arm=found.arm.name, generator=found.generator.name,
                published=str(out is not None).lower(), override=found.override or "",
            )  # fmt: skip
            ended.enter_context(self._ended(run, found.measured.time))
            params = {
                f"gate.{at}": f"{g.gate}: {g.holds}, {g.told}" for at, g in enumerate(found.gates)
            }
            points = fidelity_points(found.fidelity, found.prepared.classes)
            self._log(run, params, points, found.measured.time)
            made = dataset(found.made.images, f"{found.generator.name}-seed{found.generator.seed}")
            self._client.log_inputs(
                run, [DatasetInput(made, [InputTag("mlflow.data.context", "synthetic")])]
            )
            for name in FILES if out is not None else ():
                self._client.log_artifact(run, str(Path(str(out)) / name))

    def fidelity(self, table: pd.DataFrame, classes: Sequence[str]) -> None:
        """What each generator's images are like, on the parent run."""
        now = Timed(began=time.time(), seconds=0)
        self._put(lambda: self._fidelity(table, classes, now))

    def _fidelity(self, table: pd.DataFrame, classes: Sequence[str], now: Timed) -> None:
        names = list(dict.fromkeys(table.generator))
        for name, safe in zip(names, safe_names(names), strict=True):
            points = fidelity_points(table[table.generator == name], classes, f"fidelity/{safe}")
            self._log(self.parent, {}, points, now)

    def cost(self) -> None:
        """Log the processor seconds that tracking itself has taken."""
        seconds, now = self.seconds, round(time.time() * 1000)
        self._outbox.put(
            lambda: self._client.log_metric(self.parent, "tracking_seconds", seconds, now)
        )

    def _child(self, kind: str, name: str, seed: int, timed: Timed, **tags: str) -> str:
        """A nested run, begun when its work began."""
        run = self._client.create_run(
            self._id,
            start_time=round(timed.began * 1000),
            run_name=f"{name} seed {seed}",
            tags={
                MLFLOW_PARENT_RUN_ID: self.parent,
                "augpipe.kind": kind,
                "augpipe.seed": str(seed),
                **{f"augpipe.{key}": value for key, value in tags.items()},
            },
        )
        return str(run.info.run_id)

    def _log(
        self,
        run: str,
        params: Mapping[str, Any],
        metrics: Sequence[Point],
        timed: Timed,
    ) -> None:
        """Params and metrics in as few calls as MLflow allows; what is not finite is left out."""

        def stamp(point: Point) -> int:
            after = timed.seconds if point.after is None else point.after
            return round((timed.began + after) * 1000)

        given = [Param(key, str(value)[:6000]) for key, value in params.items()]
        found = [
            Metric(point.name, point.value, stamp(point), point.step)
            for point in metrics
            if np.isfinite(point.value)
        ]
        # The first call takes both, as far as they fit.
        first = BATCH - PARAMS
        self._client.log_batch(run, params=given[:PARAMS], metrics=found[:first])
        for start in range(PARAMS, len(given), PARAMS):
            self._client.log_batch(run, params=given[start : start + PARAMS])
        for start in range(first, len(found), BATCH):
            self._client.log_batch(run, metrics=found[start : start + BATCH])

    def _generator_model(
        self, run: str, prepared: Prepared, trained: TrainedGenerator
    ) -> Logged | None:
        """Log a generator's model; None, with a message, for one that cannot be logged."""
        derives = self._experiment.generators[trained.name].derives
        reference = trained.learned if derives else None

        def write(folder: Path) -> None:
            serving.write_generator(folder, trained.checkpoint.path, reference)

        signature = generator_signature(prepared.problem.spec.shape)
        try:
            return log_model(self._client, self._id, run, "generator", write, signature)
        except serving.NotLoggedError as error:
            _say(
                f"the model of generator {trained.name}, seed {trained.seed}, is not logged: {error}"
            )
            return None

    def _classifier_model(self, run: str, prepared: Prepared, trained: TrainedClassifier) -> Logged:
        """Log a classifier's model with its class names and image options."""
        spec, image = prepared.problem.spec, self._experiment.image

        def write(folder: Path) -> None:
            serving.write_classifier(folder, trained.state.path, prepared.classes, spec, image)

        signature = classifier_signature(prepared.classes)
        return log_model(self._client, self._id, run, "classifier", write, signature)

    @property
    def address(self) -> str:
        """Where a browser finds the parent run; "" where the store is a file."""
        if not self._uri.startswith("http"):
            return ""
        return f"{bare(self._uri).rstrip('/')}/#/experiments/{self._id}/runs/{self.parent}"
