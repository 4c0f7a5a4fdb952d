"""The training loop of all generators: budget, ticks, validation, checkpoints, restarts and early stopping."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import torch

from augpipe.core import distributed as parallel
from augpipe.core.checkpoint import Checkpoint
from augpipe.core.device import Pool, Runtime
from augpipe.core.errors import NotTrainedError
from augpipe.core.images import ImageSet
from augpipe.core.seeds import torch_stream
from augpipe.generators.class_draws import ClassUniform
from augpipe.generators.diversity import Diversity
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Generator
from augpipe.generators.ticks import PROGRESS_INTERVAL, Fitted, Hooks, Tick

MAX_RESTARTS: Final = 3  # restarts from the last good state per training
LR_FACTOR: Final = 0.5  # learning rate multiplier at each restart
CHECK_INTERVAL: Final = 32  # steps between checks that the losses are finite
SAVE_INTERVAL: Final = 60.0  # seconds between checkpoints, besides that of each tick
# The least of these intervals is so many times what the last checkpoint took to write.
SAVE_SHARE: Final = 20


def fit(
    generator: Generator,
    train: ImageSet,
    budget: GeneratorConfig,
    runtime: Runtime,
    *,
    seed: int,
    hooks: Hooks,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train `generator` on `train` for `budget.kimg` and return its best state by `hooks.validate`.

    With a budget of 0 the generator is validated once, as it is. If a loss or metric is not finite, or a class
    collapses, training restarts from the last good state with half the learning rate, at most MAX_RESTARTS times;
    then it ends with the best state so far. With a `checkpoint` the state is saved at every tick, and within one every
    SAVE_INTERVAL seconds unless several processes train together. An interrupted training resumes; on one machine's
    CPU the result is the same bit for bit.
    Raises NotTrainedError if no metric was finite, UserError for the checkpoint of another training.
    """
    generator.prepare(train)
    loop = _Loop(generator, train, budget, runtime, seed, hooks, checkpoint)
    loop.resume()
    targets = [budget.kimg * 1000 * (i + 1) / budget.ticks for i in range(budget.ticks)]
    if budget.kimg == 0:
        targets = [0.0]
    while loop.position.tick < len(targets) and not loop.position.stopped:
        loop.tick(targets[loop.position.tick])
    if not math.isfinite(loop.position.best_metric):
        reason = loop.position.stopped or "the budget is spent"
        raise NotTrainedError(
            f"the generator never reached a finite validation metric: {reason}; a lower learning_rate may help"
        )
    return loop.fitted()


@dataclass
class _Position:
    """State of the loop, except the generator's state and the random stream of rows."""

    seen: float = 0.0
    tick: int = 0
    seconds: float = 0.0
    best_kimg: float = 0.0
    best_metric: float = math.inf
    since_best: int = 0
    tries: int = 0
    # Classes that were above the collapse threshold before.
    alive: list[int] = field(default_factory=list)
    stopped: str = ""


@dataclass
class _Partial:
    """What was summed since the last tick: losses and their counts by name, steps, images, seconds."""

    totals: dict[str, torch.Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    images: float = 0.0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, torch.Tensor], images: int) -> None:
        for name, loss in losses.items():
            self.totals[name] = self.totals.get(name, torch.zeros_like(loss)) + loss
            self.counts[name] = self.counts.get(name, 0) + 1
        self.steps += 1
        self.images += images


@dataclass
class _Stretch:
    """Training between two ticks: mean losses, images, seconds, and the reason of a failure or ""."""

    losses: dict[str, float]
    images: float
    seconds: float
    failed: str


class _Loop:
    def __init__(
        self,
        generator: Generator,
        train: ImageSet,
        budget: GeneratorConfig,
        runtime: Runtime,
        seed: int,
        hooks: Hooks,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._generator, self._budget, self._hooks = generator, budget, hooks
        self._checkpoint = checkpoint
        self._pool = Pool(train, runtime)
        self._rows = ClassUniform(train, torch_stream(seed, "generator batches"), budget.together)
        detects_collapse = budget.kimg > 0 and budget.collapse > 0
        self._diversity = Diversity(train, seed) if detects_collapse else None
        self.position, self._ticks = _Position(), list[Tick]()
        self._good = (copy.deepcopy(generator.state_dict()), copy.copy(self.position))
        self._best = self._good[0]
        self._lowered = 0  # times the learning rate was lowered since the last good state
        self._partial = _Partial()
        # When the state was last saved, and how long that took.
        self._saved, self._saving = hooks.clock(), 0.0

    def resume(self) -> None:
        """Continue from the checkpoint, if it exists."""
        state = self._checkpoint.load() if self._checkpoint else None
        if state is None:
            return
        self._generator.load_state_dict(state["generator"])
        self._best = state["best"]
        self.position = _Position(**state["place"])
        self._ticks = [Tick(**tick) for tick in state["ticks"]]
        self._rows.rng.set_state(state["rows"])
        self._good = (copy.deepcopy(self._generator.state_dict()), copy.deepcopy(self.position))
        if state["since"] is not None:  # it was saved within a tick
            since = state["since"]
            self._partial = _Partial(**since["partial"])
            self._good = (since["good"], _Position(**since["good place"]))
            self._lowered = since["lowered"]

    def _save(self) -> None:
        if self._checkpoint is None or not parallel.leads():
            return
        start = self._hooks.clock()
        state = {
            "generator": self._generator.state_dict(),
            "best": self._best,
            "place": asdict(self.position),
            "ticks": [asdict(tick) for tick in self._ticks],
            "rows": self._rows.rng.get_state(),
            "since": None,
        }
        if self._partial.steps:
            state["since"] = {
                "partial": vars(self._partial),
                "good": self._good[0],
                "good place": asdict(self._good[1]),
                "lowered": self._lowered,
            }
        self._checkpoint.save(state)
        self._saved = self._hooks.clock()
        self._saving = self._saved - start

    def _is_due(self) -> bool:
        """Whether to save within a tick. Not with several processes: each has sums of its own."""
        if self._checkpoint is None or parallel.size() > 1:
            return False
        return self._hooks.clock() - self._saved >= max(SAVE_INTERVAL, SAVE_SHARE * self._saving)

    def tick(self, target: float) -> None:
        """Train up to `target` images, validate, then save the state or restart from the last good one."""
        stretch = self._train_to(target)
        self.position.seconds += stretch.seconds
        if stretch.images == 0 and self._budget.kimg > 0:
            self.position.tick += 1  # more ticks than steps: nothing new to validate
            return
        start = time.perf_counter()
        metric, least = math.nan, math.nan
        if not stretch.failed:
            metric = parallel.agreed(self._hooks.validate(self._generator))
            least, stretch.failed = self._check_diversity(metric)
        self.position.seconds += time.perf_counter() - start
        self._record(stretch, metric, least)
        if stretch.failed:
            self._restart(stretch.failed)
            return
        self.position.tick += 1
        patience = self._budget.patience
        if patience is not None and self.position.since_best >= patience:
            self.position.stopped = f"no new best in {patience} ticks"
        self._good = (copy.deepcopy(self._generator.state_dict()), copy.deepcopy(self.position))
        self._lowered = 0
        self._save()

    def _train_to(self, target: float) -> _Stretch:
        """Train up to `target` images, from the start of the tick or from where a checkpoint left it."""
        start = reported = time.perf_counter()
        before, earlier, failed, part = self.position.seen, self._partial.seconds, "", self._partial
        while self.position.seen < target and not failed:
            rows = self._rows.draw(self._budget.batch)
            losses = self._generator.step(self._pool.gather(rows), self._pool.labels[rows])
            part.add(losses, self._budget.batch)
            self.position.seen += self._budget.batch
            if part.steps % CHECK_INTERVAL and self.position.seen < target:
                continue
            failed = self._not_finite(part.totals)
            now = time.perf_counter()
            part.seconds = earlier + now - start
            if now - reported >= PROGRESS_INTERVAL:
                reported = now
                rate = (self.position.seen - before) / (now - start)
                self._hooks.on_progress(self.position.seen / 1000, rate)
            if not failed and self.position.seen < target and self._is_due():
                self._save()
        self._partial = _Partial()
        sums = parallel.means(part.totals)
        means = {name: total / part.counts[name] for name, total in sums.items()}
        return _Stretch(means, part.images, max(part.seconds, 1e-9), failed)

    def _not_finite(self, totals: Mapping[str, torch.Tensor]) -> str:
        diverged = [name for name, total in parallel.means(totals).items() if not math.isfinite(total)]
        return f"{diverged[0]} is not finite at {self.position.seen / 1000:g} kimg" if diverged else ""

    def _check_diversity(self, metric: float) -> tuple[float, str]:
        """Return the lowest diversity over classes, and why the generator failed, or ""."""
        kimg = f"{self.position.seen / 1000:g} kimg"
        if not math.isfinite(metric):
            return math.nan, f"the validation metric is not finite at {kimg}"
        if self._diversity is None:
            return math.nan, ""
        diversity = parallel.agreed(self._diversity.of(self._generator))
        # Only a class that was diverse before can collapse: early in training no class is diverse.
        fallen = [c for c in self.position.alive if diversity[c] < self._budget.collapse]
        if fallen:
            return min(diversity.values()), f"class {fallen[0]} collapsed at {kimg}"
        self.position.alive = [c for c, ratio in diversity.items() if ratio >= self._budget.collapse]
        return min(diversity.values(), default=math.nan), ""

    def _record(self, stretch: _Stretch, metric: float, least: float) -> None:
        best = not stretch.failed and metric < self.position.best_metric
        self.position.since_best = 0 if best else self.position.since_best + 1
        if best:
            self._best = copy.deepcopy(self._generator.state_dict())
            self.position.best_kimg, self.position.best_metric = self.position.seen / 1000, metric
        tick = Tick(
            kimg=self.position.seen / 1000,
            total_kimg=self._budget.kimg,
            losses=stretch.losses,
            metric=metric,
            best=best,
            images_per_second=stretch.images / stretch.seconds,
            seconds=self.position.seconds,
            diversity=least,
            restarted=stretch.failed,
        )
        tick.kept.update(self._hooks.on_tick(tick, self._generator))
        self._ticks.append(tick)

    def _restart(self, reason: str) -> None:
        """Restore the last good state with a lower learning rate, or stop after MAX_RESTARTS."""
        if self.position.tries == MAX_RESTARTS or self._budget.kimg == 0:
            self.position.stopped = f"{reason}, after {self.position.tries} restarts"
            return
        state, position = self._good
        self._generator.load_state_dict(copy.deepcopy(state))
        self._lowered += 1
        self._generator.lower_learning_rate(LR_FACTOR**self._lowered)
        # The stream of rows is not reset: the same batches would fail the same way.
        self.position = copy.deepcopy(position)
        self.position.tries = self._good[1].tries + self._lowered
        self.position.seconds = self._ticks[-1].seconds

    def fitted(self) -> Fitted:
        """The result; `stopped` also mentions restarts."""
        stopped = self.position.stopped or "the budget is spent"
        restarts = [tick.restarted for tick in self._ticks if tick.restarted]
        if restarts and self.position.tries:
            stopped = f"{stopped}; set back {self.position.tries} times, first because {restarts[0]}"
        return Fitted(self._best, self.position.best_kimg, self.position.best_metric, self._ticks, stopped)
