"""Failures of tasks: which end the run, which affect single arms only, and which are retried."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Final

from prefect.exceptions import UnfinishedRun, UpstreamTaskError

from augpipe.core.errors import NotTrainedError, UserError, is_full, one_line, passes
from augpipe.data.leaks import LeakError
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.runs import ArmRun, GeneratorRun, ReferenceRun, Run

from .home_watch import is_home_deleted

Key = tuple[str, int]  # name of an arm or a generator, and a seed
# Errors of a task whose input failed.
WAITED: Final = (UpstreamTaskError, UnfinishedRun)


def once_more(task: Any, run: Any, state: Any) -> bool:
    """Whether Prefect should retry a task: True for errors that may pass."""
    return isinstance(state.data, Exception) and passes(state.data)


def ends_all(error: BaseException) -> bool:
    """Whether the error ends the whole run: the user's mistake, a leak, a full disk, dead workers, a deleted store.

    A worker that is killed while it starts leaves a broken pipe to the run, not a broken pool.
    """
    if isinstance(error, NotTrainedError):
        return False
    ends = isinstance(error, UserError | LeakError | BrokenProcessPool | BrokenPipeError)
    return ends or is_full(error) or is_home_deleted()


@dataclass
class Failures:
    """Failed tasks in order of completion. records: the run, its stage, and the error."""

    records: list[tuple[Run, str, Exception]] = field(default_factory=list)

    def add(self, run: Run, stage: str, error: Exception) -> str:
        """Record a failure; returns a message, or "" if only an input of the task failed.

        Raises the error if it ends the whole run.
        """
        if isinstance(error, BrokenPipeError):
            raise BrokenProcessPool(str(error)) from error
        if ends_all(error):
            raise error
        self.records.append((run, stage, error))
        if isinstance(error, WAITED):
            return ""
        return f"failed: {stage} {_name(run)}, seed {run.seed}: {reason(error)}".replace("  ", " ")

    def remaining(self, experiment: Experiment) -> tuple[Experiment, dict[str, str]]:
        """The experiment without the failed arms, and the reason of each failure.

        Raises the baseline's error: a comparison needs the baseline.
        """
        errors = self._errors(experiment)
        if experiment.baseline in errors:
            raise errors[experiment.baseline]
        arms = tuple(arm for arm in experiment.arms if arm.name not in errors)
        used = {name for arm in arms for name in arm.generators}
        generators = {name: options for name, options in experiment.generators.items() if name in used}
        remaining = experiment.model_copy(update={"arms": arms, "generators": generators})
        return remaining, {name: reason(error) for name, error in errors.items()}

    def reasons(self, experiment: Experiment) -> dict[str, str]:
        """The arms of the experiment that failed, each with the reason."""
        return {name: reason(error) for name, error in self._errors(experiment).items()}

    def _errors(self, experiment: Experiment) -> dict[str, Exception]:
        return {arm.name: root for arm in experiment.arms if (root := self._root(arm)) is not None}

    def raise_first(self) -> None:
        """Raise the first error, if any; for runs with a single result."""
        errors = [error for _, _, error in self.records]
        roots = [error for error in errors if not isinstance(error, WAITED)]
        for error in roots or errors:
            raise error

    def of_generators(self) -> Iterator[tuple[Key, str]]:
        """Generators that failed, each with the reason."""
        yield from self._of(GeneratorRun)

    def of_arms(self) -> Iterator[tuple[Key, str]]:
        """Arms that failed by themselves, not because of their generator."""
        yield from self._of(ArmRun)

    def _of(self, kind: type[Run]) -> Iterator[tuple[Key, str]]:
        reasons = {
            (_name(run), run.seed): reason(error)
            for run, _, error in self.records
            if isinstance(run, kind) and not isinstance(error, WAITED)
        }
        yield from reasons.items()

    def _root(self, arm: Arm) -> Exception | None:
        """The first error of an arm that no other error caused; None if the arm did not fail."""
        errors = [error for run, _, error in self.records if _concerns(run, arm)]
        roots = [error for error in errors if not isinstance(error, WAITED)]
        return next(iter(roots or errors), None)


def _name(run: Run) -> str:
    if isinstance(run, ReferenceRun):
        return ""
    return run.name if isinstance(run, GeneratorRun) else run.arm.name


def _concerns(run: Run, arm: Arm) -> bool:
    if isinstance(run, ArmRun):
        return run.arm.name == arm.name
    return bool(arm.generators) if isinstance(run, ReferenceRun) else run.name in arm.generators


def reason(error: BaseException) -> str:
    """An error in one line."""
    message = one_line(error)
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__
