"""What fails for real, what of a run stands all the same, and what is tried once more."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from prefect import flow, task
from prefect.exceptions import UnfinishedRun
from tiny import CONFIG, Ran, beside, tracking
from tracked import prefect

from augpipe.core.errors import NotTrainedError, UserError, is_full, passes
from augpipe.data.leaks import LeakError
from augpipe.pipeline import experiment as config
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.runs import ArmRun, GeneratorRun, ReferenceRun
from flows.exits import exit_message
from flows.failures import Failures, ends_all, once_more
from flows.retries import DELAYS
from flows.tasks import run_stage

# No machine has the memory for such a layer: the training fails, and not for a mistake that the config shows.
TOO_LARGE = "generators.acgan.latent=4000000000"


def test_one_generator_fails_and_the_rest_is_compared(single: Ran, tmp_path: Path) -> None:
    whole = pd.read_csv(single.folder / "scores.csv")
    broken = beside(single, tmp_path, TOO_LARGE)
    assert broken.status == 0, broken.err[-3000:]
    assert "arm acgan failed and is not compared: RuntimeError" in broken.err
    summary = json.loads((broken.folder / "summary.json").read_text())
    assert set(summary["failed"]) == {"acgan"} and "allocate" in summary["failed"]["acgan"]
    assert set(summary["arms"]) == {"real", "classic", "smote"} and set(summary["generators"]) == {"smote"}
    # The others' scores are what they were beside it.
    left = pd.read_csv(broken.folder / "scores.csv")
    rest = whole[whole.arm != "acgan"].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, rest)
    assert summary["verdict"].endswith("Failed and not compared: 'acgan'.")
    page = (broken.folder / "report.html").read_text()
    assert "1 of 4 arms failed and are not compared" in page and 'role="alert"' in page
    # The config is told whole, so that the run can be repeated.
    asked = yaml.safe_load((broken.folder / "experiment.yaml").read_text())
    assert [arm["name"] for arm in asked["arms"]] == ["real", "classic", "smote", "acgan"]
    client = MlflowClient(tracking(tmp_path))
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    runs = client.search_runs([found.experiment_id], "tags.`augpipe.failed` != ''")
    parents = [r for r in runs if r.data.tags["augpipe.kind"] == "comparison"]
    children = [r for r in runs if r.data.tags["augpipe.kind"] == "generator"]
    assert [r.info.status for r in parents] == ["FINISHED"]
    assert parents[0].data.tags["augpipe.failed"] == "acgan"
    assert [r.info.status for r in children] == ["FAILED"]
    assert all("allocate" in r.data.tags["augpipe.failed"] for r in children)
    # Asked to be strict, the same run ends with 1, its report written all the same.
    scores = (broken.folder / "scores.csv").read_bytes()
    strict = beside(single, tmp_path, TOO_LARGE, more=("--strict",))
    assert strict.status == 1
    assert (strict.folder / "scores.csv").read_bytes() == scores


def test_a_task_that_takes_too_long_fails_alone(single: Ran, tmp_path: Path) -> None:
    """Nothing but the generator is left to be made."""
    slow = beside(single, tmp_path, "runner.timeout=8", "generators.acgan.kimg=100000")
    assert slow.status == 0, slow.err[-3000:]
    summary = json.loads((slow.folder / "summary.json").read_text())
    assert "TaskRunTimeoutError" in summary["failed"]["acgan"], summary["failed"]


NOTHING: Any = None  # in place of futures: whose failure it is does not depend on them


def arm_run(experiment: Experiment, name: str, seed: int) -> ArmRun:
    arm = next(arm for arm in experiment.arms if arm.name == name)
    return ArmRun(arm, seed, NOTHING)


def generator_run(name: str, seed: int) -> GeneratorRun:
    return GeneratorRun(name, seed, NOTHING, NOTHING)


def test_without_its_baseline_nothing_can_be_compared() -> None:
    experiment = config.build(yaml.safe_load(CONFIG))
    failures = Failures()
    failures.add(arm_run(experiment, "real", 0), "classifier", RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        failures.remaining(experiment)


def test_whose_failure_is_whose() -> None:
    experiment = config.build(yaml.safe_load(CONFIG))
    failures = Failures()
    assert failures.add(generator_run("smote", 1), "measured", ValueError("first"))
    # A task that only waited for another is not what an arm failed of.
    waiting = arm_run(experiment, "classic", 1)
    assert not failures.add(waiting, "scored", UnfinishedRun("waited"))
    assert failures.add(arm_run(experiment, "classic", 2), "recipe", KeyError("second"))
    left, why = failures.remaining(experiment)
    assert [arm.name for arm in left.arms] == ["real", "acgan"] and list(left.generators) == ["acgan"]
    assert why == {"smote": "ValueError: first", "classic": "KeyError: 'second'"}
    assert dict(failures.of_generators()) == {("smote", 1): "ValueError: first"}
    assert dict(failures.of_arms()) == {("classic", 2): "KeyError: 'second'"}
    failures.add(ReferenceRun(0, NOTHING), "reference", ValueError("third"))
    assert set(failures.remaining(experiment)[1]) == {"smote", "classic", "acgan"}


@pytest.mark.parametrize(
    "error",
    [UserError("yours"), LeakError("seen"), OSError(errno.ENOSPC, "full"), RuntimeError("database or disk is full")],
    ids=lambda error: type(error).__name__,
)
def test_what_ends_a_run(error: Exception) -> None:
    assert ends_all(error)
    with pytest.raises(type(error)):
        Failures().add(generator_run("acgan", 0), "trained", error)
    assert not passes(error)


def test_a_worker_that_is_killed_while_it_starts_ends_the_run_too() -> None:
    """The run writes to it and finds the pipe broken; an arm that failed by itself would not be made again."""
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    with pytest.raises(BrokenProcessPool) as raised:
        Failures().add(generator_run("acgan", 0), "trained", error)
    ending = exit_message(raised.value)
    assert ending is not None and ending[0] == 1 and "a worker process was killed" in ending[1]


def test_a_training_that_came_to_nothing_ends_no_more_than_its_arms() -> None:
    assert not ends_all(NotTrainedError("never finite")) and not passes(NotTrainedError("never finite"))


def test_a_full_disk_is_known_by_what_it_came_from() -> None:
    try:
        try:
            raise OSError(errno.EDQUOT, "over")
        except OSError as inner:
            raise RuntimeError("could not") from inner
    except RuntimeError as error:
        assert is_full(error)
    assert not is_full(RuntimeError("could not"))


@pytest.fixture
def server() -> Iterator[None]:
    with prefect():
        yield


PASSES = [OSError(errno.ESTALE, "stale"), ConnectionResetError("gone"), URLError(TimeoutError("slow"))]
STAYS = [UserError("yours"), OSError(errno.ENOSPC, "full"), ValueError("a fault"), URLError("no such host")]


@pytest.mark.usefixtures("server")
def test_what_passes_is_tried_again_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    assert run_stage.retry_condition_fn is once_more and run_stage.retries == len(DELAYS)

    @task(retries=len(DELAYS), retry_delay_seconds=[0.1] * len(DELAYS), retry_condition_fn=once_more)
    def fails(at: int, error: Exception, times: int) -> str:
        with (tmp_path / str(at)).open("a") as log:
            log.write("x")
        if len((tmp_path / str(at)).read_text()) <= times:
            raise error
        return "well"

    @flow
    def several() -> list[object]:
        found: list[object] = []
        for at, error in enumerate([*PASSES, *STAYS]):
            try:
                found.append(fails(at, error, 2))
            except Exception as raised:
                found.append(type(raised))
        try:  # and what does not pass is given up
            fails(99, PASSES[0], 100)
        except OSError as raised:
            found.append(raised.errno)
        return found

    found = several()
    assert found == ["well"] * len(PASSES) + [type(error) for error in STAYS] + [errno.ESTALE]
    tries = [len((tmp_path / str(at)).read_text()) for at in range(len(PASSES) + len(STAYS))]
    assert tries == [3] * len(PASSES) + [1] * len(STAYS)
    assert len((tmp_path / "99").read_text()) == 1 + len(DELAYS)
