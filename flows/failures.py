"""What may fail: what ends a run, what leaves the rest of it standing, and what is tried once more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Final

from prefect.exceptions import UnfinishedRun, UpstreamTaskError

from augpipe.core.errors import NotTrainedError, UserError, is_full, passes
from augpipe.data.leaks import LeakError
from augpipe.pipeline.experiment import Arm, Experiment

Key = tuple[str, int]  # an arm's or a generator's name, and a seed
# Seconds before a task is tried once more: a network drive or a download that was away for a moment.
DELAYS: Final = (5.0, 30.0)
# Of a task that needs what another failed to make.
WAITED: Final = (UpstreamTaskError, UnfinishedRun)
OF_ARMS: Final = ("synthesised", "chosen", "mixed", "trained", "scored")
OF_GENERATORS: Final = ("parts", "generators", "measured")


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
    """Tasks that failed, by stage, and by name and seed."""

    found: dict[tuple[str, Key], Exception] = field(default_factory=dict)

    def add(self, stage: str, key: Key, error: Exception) -> str:
        """Keep a failure; a line on it, or nothing where the task only waited for another that failed.

        Raises it where it ends the run.
        """
        if ends_all(error):
            raise error
        self.found[stage, key] = error
        if isinstance(error, WAITED):
            return ""
        what = f"{stage} {key[0]}".strip() if key[0] else stage
        return f"failed: {what}, seed {key[1]}: {reason(error)}"

    def rest(self, experiment: Experiment) -> tuple[Experiment, dict[str, str]]:
        """The experiment without the arms that failed, and why each of those did.

        Raises what the baseline failed of: without it there is nothing to compare with.
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
        """For a run that has but one thing to make: raise what it failed of."""
        roots = [error for error in self.found.values() if not isinstance(error, WAITED)]
        for error in roots or self.found.values():
            raise error

    def of_generators(self) -> Iterator[tuple[Key, str]]:
        """Generators that failed themselves, each with its reason."""
        yield from self._of(OF_GENERATORS)

    def of_arms(self) -> Iterator[tuple[Key, str]]:
        """Arms that failed themselves, not for their generator."""
        yield from self._of(OF_ARMS)

    def _of(self, stages: Collection[str]) -> Iterator[tuple[Key, str]]:
        told = {
            key: reason(error)
            for (stage, key), error in self.found.items()
            if stage in stages and not isinstance(error, WAITED)
        }
        yield from told.items()

    def _root(self, arm: Arm) -> Exception | None:
        """What an arm failed of: the first failure that did not come from another; None where it did not fail."""
        own = [
            error
            for (stage, (name, _)), error in self.found.items()
            if (stage in OF_ARMS and name == arm.name)
            or (stage in OF_GENERATORS and name in arm.generators)
            or (stage == "domains" and arm.generators)
        ]
        roots = [error for error in own if not isinstance(error, WAITED)]
        return next(iter(roots or own), None)


def reason(error: BaseException) -> str:
    """An error in one line."""
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told[:300]}" if told else type(error).__name__
