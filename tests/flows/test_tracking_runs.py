"""Tracking again what is tracked already, or half: the record is that of a run that nothing disturbed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput
from PIL import Image
from sqlalchemy import Engine, event
from tiny import tracking
from tracked import prefect, told

from augpipe.classifiers.options import Mix
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.processes import hold, this_process
from augpipe.core.refs import SplitRefs
from augpipe.core.store import Store
from augpipe.pipeline import experiment as config
from augpipe.pipeline.pruning import RUNNING
from augpipe.pipeline.records import IntakeRecord, Prepared, Recipe, Scored, Timed, TrainedClassifier, TrainedGenerator
from augpipe.pipeline.runs import ArmRun
from flows.failures import Failures
from flows.tracking import cleanup, pending, runs
from flows.tracking.names import Point
from flows.tracking.system import system_metrics
from flows.tracking.tracker import Tracker

TIMED = Timed(began=1_700_000_000.0, seconds=2.0)


class Stored:
    """What a tiny comparison leaves in the store, made by hand."""

    def __init__(self, place: Path, images: ImageSet) -> None:
        store, self.out = Store(place / "store"), place / "out"
        self.out.mkdir()
        (self.out / "report.html").write_text("<p>")
        data = store.put_images(images)
        self.experiment = config.build(
            {
                "name": "by hand",
                "source": {"kind": "bundled"},
                "generators": {"gan": {"kind": "acgan"}},
                "arms": [{"name": "real"}, {"name": "gan", "generator": "gan"}],
                "baseline": "real",
            }
        )
        counts = {split: {0: 4, 1: 4} for split in ("train", "val", "test")}
        intake = IntakeRecord(
            fingerprint="0" * 16,
            images=8,
            quarantined=0,
            removed=0,
            ignored={},
            split="stratified",
            groups=None,
            notes=(),
        )
        self.prepared = Prepared(
            data=data,
            splits=SplitRefs(train=data, val=data, test=data),
            classes=images.classes,
            size=8,
            channels=1,
            counts=counts,
            fingerprint="f" * 16,
            intake=intake,
            quarantine=data,
            time=TIMED,
        )
        picture = store.put("previews", lambda p: Image.new("L", (8, 8)).save(p, "PNG"), ".png")
        rows = [(k, k / 10, name, 1 / (1 + k)) for k in range(3) for name in ("loss_d", "val_kid")]
        history = pd.DataFrame(rows, columns=["kimg", "seconds", "metric", "value"])
        self.generator = TrainedGenerator(
            name="gan",
            kind="acgan",
            seed=0,
            checkpoint=store.put_state("g", {"w": torch.ones(2)}),
            history=store.put_table("h", history),
            previews=((0.0, picture), (2.0, picture)),
            samples=data,
            learned=data,
            best_kimg=1.0,
            best_metric=0.5,
            stopped="budget",
            time=TIMED,
        )
        steps = pd.DataFrame([(1, "loss", 0.5)], columns=["step", "metric", "value"])
        table = pd.DataFrame([("test", "macro_recall", "", 0.75)], columns=["split", "metric", "class", "value"])
        self.classifier = TrainedClassifier(
            arm="gan",
            seed=0,
            state=store.put_state("c", {"w": torch.zeros(2)}),
            history=store.put_table("s", steps),
            best_step=1,
            time=TIMED,
        )
        self.other_state = store.put_state("c", {"w": torch.ones(3)})
        scores = store.put_table("t", table)
        self.scored = Scored(arm="gan", seed=0, table=scores, probabilities=scores)
        self.recipe = Recipe(
            real=data,
            synthetic=data,
            soft_labels=None,
            mix=Mix(),
            chosen=None,
            real_count=(4, 4),
            synthetic_count=(4, 4),
            made_by={"gan": 8},
            class_probability=(0.5, 0.5),
            class_share=(0.5, 0.5),
            synthetic_share=0.5,
            synthetic_ratio=1.0,
            drawn=None,
            short={},
            funnel=(),
        )
        fidelity = {"generator": "gan", "metric": "kid", "class": "", "value": 0.1}
        self.fidelity = pd.DataFrame([fidelity])

    def track(self, name: str, client: MlflowClient | None = None, kid: float = 0.1) -> Tracker:
        """All of it, into the MLflow experiment `name`."""
        tracker = Tracker(self.experiment.model_copy(update={"name": name}), client)
        failures = Failures()
        real = ArmRun(self.experiment.arms[0], 0, self.prepared)
        failures.add(real, "classifier", RuntimeError("no"))
        with tracker.comparison(self.prepared):
            tracker.generator(self.prepared, self.generator)
            tracker.arm(self.prepared, self.recipe, self.classifier, self.scored)
            tracker.failed(failures, {"real": "no"})
            tracker.failed(failures, {"gan": "no", "real": "no"})  # of the confirm stage
            tracker.fidelity(self.fidelity.assign(value=kid), self.prepared.classes)
            tracker.result(self.out, "a verdict", {"gan": {"gain": 0.1}})
        return tracker


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    from shapes import shapes

    return Stored(tmp_path_factory.mktemp("stored"), shapes((4, 4), size=8))


@pytest.fixture(scope="module")
def client(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """A store on a file, and a Prefect server for what is waited for; `conftest` must be imported before."""
    with pytest.MonkeyPatch.context() as patch, prefect():
        place = tmp_path_factory.mktemp("home")
        patch.chdir(place)  # MLflow makes `mlruns` where it stands
        patch.setenv("AUGPIPE_HOME", str(place))
        mlflow.set_tracking_uri(None)  # another module's
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(pending, "PAUSES", [0.0])
        event.listen(Engine, "connect", without_fsync)
        yield MlflowClient(tracking(place))
        event.remove(Engine, "connect", without_fsync)
        mlflow.set_tracking_uri(None)


def without_fsync(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def record(client: MlflowClient, name: str) -> list[Any]:
    """All that an MLflow experiment holds, without its name and ids."""
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    models = client.search_logged_models([experiment.experiment_id])
    every = sorted(str(told(client, run)).replace(f"'{name}", "'NAME") for run in found)
    return [*every, sorted((model.name, model.status.name) for model in models)]


@pytest.fixture(scope="module")
def whole(client: MlflowClient, stored: Stored) -> list[Any]:
    stored.track("whole")
    found = record(client, "whole")
    assert len(found) == 1 + 3 + 1
    return found


def test_the_same_again_continues_the_parent_and_adds_nothing(
    client: MlflowClient, stored: Stored, whole: list[Any]
) -> None:
    first, second = stored.track("twice"), stored.track("twice")
    assert first.parent == second.parent and first.logged == second.logged
    assert set(first.logged) == {("generator", "gan", 0), ("classifier", "gan", 0)}
    assert record(client, "twice") == whole
    assert client.get_run(first.parent).data.tags["augpipe.failed"] == "real, gan", "of both stages"
    (kid,) = client.get_metric_history(first.parent, "fidelity/gan/kid")
    # A value that changed is a new point, and the latest.
    stored.track("twice", kid=0.05)
    history = client.get_metric_history(first.parent, kid.key)
    assert [point.value for point in history] == [0.1, 0.05]
    assert client.get_run(first.parent).data.metrics[kid.key] == 0.05


def test_another_command_links_the_models_of_the_first(client: MlflowClient, stored: Stored) -> None:
    """One copy of each model on disk, outputs of the runs of both commands; other weights are another model."""
    stored.track("linked")
    more = stored.experiment.model_copy(update={"name": "linked"})
    tracker = Tracker(more.model_copy(update={"seeds": (0, 1)}))
    retrained = stored.classifier.model_copy(update={"seed": 1, "state": stored.other_state})
    with tracker.comparison(stored.prepared):
        tracker.generator(stored.prepared, stored.generator)
        tracker.arm(stored.prepared, stored.recipe, stored.classifier, stored.scored)
        tracker.arm(stored.prepared, stored.recipe, retrained, stored.scored)
    experiment = client.get_experiment_by_name("linked")
    assert experiment is not None
    models = client.search_logged_models([experiment.experiment_id])
    assert sorted(model.name for model in models) == [
        "classifier-gan-seed0",
        "classifier-gan-seed1",
        "generator-gan-seed0",
    ]
    outputs = [
        output.model_id
        for run in client.search_runs([experiment.experiment_id])
        for output in (run.outputs.model_outputs if run.outputs else ())
    ]
    assert len(outputs) == 2 + 3 and set(outputs) == {model.model_id for model in models}
    assert tracker.logged["classifier", "gan", 0].model != tracker.logged["classifier", "gan", 1].model


def test_old_runs_are_deleted_with_what_only_they_hold(
    client: MlflowClient, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three commands: one is registered, one ended just now, and one goes; another owner's runs stay."""
    later = stored.experiment.model_copy(update={"seeds": (0, 1), "name": "old"})
    first = stored.track("old")
    experiment = client.get_experiment_by_name("old")
    assert experiment is not None
    key = experiment.experiment_id
    foreign = client.create_run(key, run_name="not ours")
    client.set_terminated(foreign.info.run_id, end_time=1000)
    second = Tracker(later)
    retrained = stored.classifier.model_copy(update={"seed": 1, "state": stored.other_state})
    with second.comparison(stored.prepared):
        second.generator(stored.prepared, stored.generator)
        second.arm(stored.prepared, stored.recipe, retrained, stored.scored)
    files = Path(os.environ["AUGPIPE_HOME"])
    model = first.logged["classifier", "gan", 0].model
    assert [path for path in files.rglob(f"{model}/**/*") if path.is_file()]

    client.create_registered_model("champion of old")
    version = client.create_model_version(
        "champion of old", f"models:/{model}", run_id=first.logged["classifier", "gan", 0].run, model_id=model
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI names another"):
        cleanup.remove_runs(0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert cleanup.remove_runs(3600, ["old"]) == cleanup.Removed(0, 0)  # both ended just now
    assert cleanup.remove_runs(-1, ["old"]) == cleanup.Removed(3, 1)  # the second command, and its own classifier
    left = {run.info.run_id for run in client.search_runs([key])}
    assert second.parent not in left and {first.parent, foreign.info.run_id} <= left
    assert {m.name for m in client.search_logged_models([key])} == {"classifier-gan-seed0", "generator-gan-seed0"}
    client.delete_model_version("champion of old", version.version)
    client.delete_registered_model("champion of old")
    assert cleanup.remove_runs(-1, ["old"]).models == 2
    assert [run.info.run_id for run in client.search_runs([key])] == [foreign.info.run_id]
    assert not [path for path in files.rglob(f"{model}/**/*") if path.is_file()]


def test_what_the_user_still_links_or_has_deleted_stays(
    client: MlflowClient, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = stored.track("linked by others")
    experiment = client.get_experiment_by_name("linked by others")
    assert experiment is not None
    key = experiment.experiment_id
    models = {kind: tracker.logged[kind, "gan", 0].model for kind in ("classifier", "generator")}
    other = client.create_experiment("someone's own")
    evaluation = client.create_run(other)  # reads the classifier, in another experiment
    client.log_inputs(evaluation.info.run_id, models=[LoggedModelInput(models["classifier"])])
    client.set_terminated(evaluation.info.run_id)
    binned = client.create_run(key)  # links the generator, and may be restored
    client.log_outputs(binned.info.run_id, [LoggedModelOutput(models["generator"], 0)])
    client.set_terminated(binned.info.run_id)
    client.delete_run(binned.info.run_id)

    copied = tmp_path / "copied home"
    copied.mkdir()
    shutil.copy(Path(os.environ["AUGPIPE_HOME"]) / "mlflow.db", copied)
    with monkeypatch.context() as patch:  # its database names the files of the first home
        patch.setenv("AUGPIPE_HOME", str(copied))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert cleanup.remove_runs(-1, ["linked by others"]) == cleanup.Removed(0, 0)
    running = hold(Path(os.environ["AUGPIPE_HOME"]) / "store" / RUNNING / "1.0-x")
    with running, pytest.raises(UserError, match="a run is in progress"):
        cleanup.remove_runs(-1, ["linked by others"])
    (child,) = client.search_runs([key], "tags.`augpipe.kind` = 'arm' and attributes.status = 'FINISHED'")
    client.delete_run(child.info.run_id)
    assert cleanup.remove_runs(-1, ["linked by others"]) == cleanup.Removed(0, 0)  # one of its command
    client.restore_run(child.info.run_id)
    assert cleanup.remove_runs(-1, ["linked by others"]) == cleanup.Removed(4, 0)
    client.restore_run(binned.info.run_id)
    for model in models.values():
        assert client.get_logged_model(model).status == "READY"
        assert any(path.is_file() for path in Path(os.environ["AUGPIPE_HOME"]).rglob(f"{model}/**/*"))


def test_other_data_or_another_command_is_another_run(client: MlflowClient, stored: Stored) -> None:
    experiment = stored.experiment.model_copy(update={"name": "several"})
    parents = set()
    for prepared, kind in (
        (stored.prepared, "comparison"),
        (stored.prepared, "train"),
        (stored.prepared.model_copy(update={"fingerprint": "e" * 16}), "comparison"),
    ):
        tracker = Tracker(experiment)
        with tracker.comparison(prepared, kind):
            parents.add(tracker.parent)
    assert len(parents) == 3


class Killed(BaseException):
    pass


class Cut:
    """The real client; the answer to its call number `at` is lost, or the process dies there."""

    def __init__(self, real: MlflowClient, at: int, dies: bool) -> None:
        self._real, self._at, self._dies, self.calls = real, at, dies, 0

    @property
    def tracking_uri(self) -> str:
        return self._real.tracking_uri

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self._dies and self.calls > self._at:
                raise Killed
            answer = getattr(self._real, name)(*args, **kwargs)
            if self.calls == self._at:
                raise Killed if self._dies else requests.ConnectionError("the answer is lost")
            return answer

        return call


@pytest.mark.parametrize("dies", [False, True], ids=["answer lost", "killed"])
def test_at_whatever_call_it_is_cut_the_record_is_that_of_a_whole_run(
    client: MlflowClient, stored: Stored, whole: list[Any], dies: bool
) -> None:
    for at in count(1 + dies, 2):  # every other call, the rest in the other way
        name, cut = f"cut {dies} {at}", Cut(client, at, dies)
        try:
            stored.track(name, cast(MlflowClient, cut))
        except Killed:
            stored.track(name)
        assert record(client, name) == whole, f"call {at}"
        if cut.calls < at:
            break  # it was never cut
    assert at > 30, "few calls are left to be cut at"


def test_who_continues_whose_run(client: MlflowClient) -> None:
    """A dead process's run ends as KILLED, with its children, and is continued; a live one elsewhere is left alone."""
    experiment = client.create_experiment("processes")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()
    place, pid, began = this_process().split(" ")
    tags = {runs.KEY: "k", runs.PROCESS: f"{place} {gone.pid} {began}"}
    dead = client.create_run(experiment, tags=tags).info.run_id
    child = client.create_run(experiment, tags={"mlflow.parentRunId": dead}).info.run_id
    elsewhere = {runs.KEY: "k", runs.PROCESS: f"elsewhere {pid} {began}"}
    alive = client.create_run(experiment, tags=elsewhere).info.run_id
    foreign = client.create_run(experiment).info.run_id  # begun by hand
    # Of a container that is gone, and with it its name: nothing but its silence tells.
    long_ago = {**elsewhere, runs.KEY: "l", runs.HEARTBEAT: str(time.time() - runs.TIMEOUT - 10)}
    silent = client.create_run(experiment, tags=long_ago).info.run_id
    slept = {runs.KEY: "s", runs.PROCESS: this_process(), runs.HEARTBEAT: long_ago[runs.HEARTBEAT]}
    here = client.create_run(experiment, tags=slept).info.run_id  # of this machine: its process is asked
    heard = {**elsewhere, runs.KEY: "h", runs.HEARTBEAT: str(time.time() - runs.TIMEOUT + 60)}
    busy = client.create_run(experiment, tags=heard).info.run_id
    assert runs.open_parent(client, experiment, "k", "n", {}) == dead
    status = {run: client.get_run(run).info.status for run in (dead, child, alive, foreign)}
    assert status == {dead: "RUNNING", child: "KILLED", alive: "RUNNING", foreign: "RUNNING"}
    assert client.get_run(silent).info.status == "KILLED"
    assert client.get_run(busy).info.status == client.get_run(here).info.status == "RUNNING"
    assert client.get_run(dead).data.tags[runs.PROCESS] == this_process()
    assert runs.open_parent(client, experiment, "another", "n", {}) not in status


def test_a_run_gives_heartbeats(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.create_run(client.create_experiment("alive")).info.run_id
    monkeypatch.setattr(runs, "INTERVAL", 0.05)
    begun = time.time()
    with runs.heartbeats(client, run):
        while (tag := client.get_run(run).data.tags.get(runs.HEARTBEAT)) is None:
            assert time.time() - begun < 30
            time.sleep(0.05)
    assert abs(float(tag) - begun) < 30


def test_a_run_has_the_machines_load_unless_mlflows_variable_switches_it_off(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.create_run(client.create_experiment("measured")).info.run_id
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.02")
    with system_metrics(client, run, print):
        begun = time.time()
        while not (metrics := client.get_run(run).data.metrics):
            assert time.time() - begun < 30
            time.sleep(0.02)
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 100
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with system_metrics(client, run, print):
        assert "system metrics" not in {thread.name for thread in threading.enumerate()}


def test_an_experiment_that_was_there_before_becomes_one_of_machine_learning(
    client: MlflowClient, stored: Stored
) -> None:
    key = client.create_experiment("before")
    stored.track("before")
    assert client.get_experiment(key).tags["mlflow.experimentKind"] == "custom_model_development"


def test_more_values_than_one_call_takes(client: MlflowClient) -> None:
    run = client.create_run(client.create_experiment("many")).info.run_id
    params = {f"p{i}": i for i in range(250)}
    points = [Point(f"m{i}", float(i)) for i in range(1850)] + [Point("nan", np.nan)]
    runs.log_values(client, run, params, points, TIMED)
    data = client.get_run(run).data
    assert data.params == {key: str(value) for key, value in params.items()}
    assert data.metrics == {point.name: point.value for point in points[:-1]}
