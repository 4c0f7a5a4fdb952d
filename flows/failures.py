"""What may fail: what ends a run, what leaves the rest of it standing, and what is tried once more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Final

from prefect.exceptions import UnfinishedRun, UpstreamTaskError

from augpipe.core.errors import NotTrainedError, UserError, is_full, passes
from augpipe.data.leaks import LeakError
from augpipe.pipeline.compare import ArmRun, GeneratorRun, ReferenceRun, Run
from augpipe.pipeline.experiment import Arm, Experiment

Key = tuple[str, int]  # an arm's or a generator's name, and a seed
# Seconds before a task is tried once more: a network drive or a download that was away for a moment.
DELAYS: Final = (5.0, 30.0)
# Of a task that needs what another failed to make.
WAITED: Final = (UpstreamTaskError, UnfinishedRun)


def once_more(task: Any, run: Any, state: Any) -> bool:
    """Whether Prefect shall try a task again, by what it failed of."""
    return isinstance(state.data, Exception) and passes(state.data)


def ends_all(error: BaseException) -> bool:
    """Whether nothing of the run can stand: the user's mistake, a leak, a full disk, workers that are gone."""
    if isinstance(error, NotTrainedError):
        return False
    return isinstance(error, UserError | LeakError | BrokenProcessPool) or is_full(error)


@dataclass
class Failures:
    """What failed: the run, its stage, and the error, in the order of their ends."""

    found: list[tuple[Run, str, Exception]] = field(default_factory=list)

    def add(self, run: Run, stage: str, error: Exception) -> str:
        """Record a failure; returns a line about it, or "" if the task only waited for another that failed.

        Raises the error if it ends the whole run.
        """
        if ends_all(error):
            raise error
        self.found.append((run, stage, error))
        if isinstance(error, WAITED):
            return ""
        return f"failed: {stage} {_name(run)}, seed {run.seed}: {reason(error)}".replace("  ", " ")

    def rest(self, experiment: Experiment) -> tuple[Experiment, dict[str, str]]:
        """The experiment without the arms that failed, and the reason for each of those.

        Raises the baseline's error: without it there is nothing to compare with.
        """
        why = {arm.name: root for arm in experiment.arms if (root := self._root(arm)) is not None}
        if experiment.baseline in why:
            raise why[experiment.baseline]
        arms = tuple(arm for arm in experiment.arms if arm.name not in why)
        used = {name for arm in arms for name in arm.generators}
        generators = {name: own for name, own in experiment.generators.items() if name in used}
        left = experiment.model_copy(update={"arms": arms, "generators": generators})
        return left, {name: reason(error) for name, error in why.items()}

    def raise_first(self) -> None:
        """For a run that makes a single thing: raise its error."""
        errors = [error for _, _, error in self.found]
        roots = [error for error in errors if not isinstance(error, WAITED)]
        for error in roots or errors:
            raise error

    def of_generators(self) -> Iterator[tuple[Key, str]]:
        """Generators that failed themselves, each with its reason."""
        yield from self._of(GeneratorRun)

    def of_arms(self) -> Iterator[tuple[Key, str]]:
        """Arms that failed themselves, not because of their generator."""
        yield from self._of(ArmRun)

    def _of(self, kind: type[Run]) -> Iterator[tuple[Key, str]]:
        reasons = {
            (_name(run), run.seed): reason(error)
            for run, _, error in self.found
            if isinstance(run, kind) and not isinstance(error, WAITED)
        }
        yield from reasons.items()

    def _root(self, arm: Arm) -> Exception | None:
        """The first error that an arm failed of and that did not follow from another; None if the arm did not fail."""
        own = [error for run, _, error in self.found if _concerns(run, arm)]
        roots = [error for error in own if not isinstance(error, WAITED)]
        return next(iter(roots or own), None)


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
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told[:300]}" if told else type(error).__name__
