"""fit(): the only generator loop. It owns budget, ticks, validation, checkpoints, restarts and early stop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import torch

from augpipe.core import distributed as parallel
from augpipe.core.device import ClassRows, Pool, Runtime
from augpipe.core.errors import NotTrainedError
from augpipe.core.images import ImageSet
from augpipe.core.seeds import torch_stream
from augpipe.generators.checkpoint import Checkpoint
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Generator, drawn_together

# Lower is better; sees train and val only.
Validate = Callable[[Generator], float]

TRIES: Final = 3  # restarts from the last good state, in all
SLOWER: Final = 0.5  # factor of the learning rate at each
CHECKED: Final = 32  # steps between two looks at whether losses are finite
TOLD: Final = 0.5  # seconds between two calls of on_progress
FIXED: Final = 8  # images a class that diversity is measured on
COMPARED: Final = 64  # real images a class that it is compared with


@dataclass(frozen=True)
class Tick:
    """What a tick tells.

    losses: means since the last one. metric: of validation. diversity: the least diverse class's share of
    the real images' diversity (nan where not measured). seconds: of training so far. restarted: why the
    training was set back to the last good state, or "". kept: what `on_tick` returned, plain values.
    """

    kimg: float
    total_kimg: float
    losses: dict[str, float]
    metric: float
    best: bool
    images_per_second: float
    seconds: float = 0.0
    diversity: float = math.nan
    restarted: str = ""
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass
class Fitted:
    """The state at the best validation metric, and the way there."""

    state: dict[str, Any]
    best_kimg: float
    best_metric: float
    ticks: list[Tick] = field(default_factory=list)
    stopped: str = "the budget is spent"


def _nothing(tick: Tick, generator: Generator) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Hooks:
    """What the loop calls: it logs and measures nothing by itself.

    on_tick: after validation; what it returns stays with the tick, over a resume too. on_progress: thousands
    of images seen, images a second, at most every TOLD seconds.
    """

    validate: Validate
    on_tick: Callable[[Tick, Generator], Mapping[str, Any]] = _nothing
    on_progress: Callable[[float, float], None] = lambda kimg, rate: None


class ClassUniform:
    """Endless rows of train, class drawn uniformly, then the image within it; classes without images apart.

    Drawn by natural frequency a rare class is hardly ever seen, and its generator starves. together: images that a
    class is drawn for at a time.
    """

    def __init__(self, train: ImageSet, rng: torch.Generator, together: int = 1) -> None:
        self._rows, self._together = ClassRows(train), together
        self._classes = torch.nonzero(self._rows.sizes).squeeze(1)
        self.rng = rng

    def draw(self, n: int) -> torch.Tensor:
        """int64 (n,)."""
        labels = drawn_together(self._classes, n, self._together, self.rng)
        u = torch.rand(n, generator=self.rng, dtype=torch.float64)
        return self._rows.pick(labels, u)


class Diversity:
    """How different a fixed batch's images are, class by class, against real ones."""

    def __init__(self, train: ImageSet, seed: int) -> None:
        self._seed = seed
        self._real: dict[int, float] = {}
        rng = torch_stream(seed, "diversity")
        for label, n in train.counts().items():
            if n < 2:
                continue
            rows = np.flatnonzero(train.labels == label)
            some = rows[torch.randperm(n, generator=rng)[:COMPARED].numpy()]
            spread = _spread(torch.from_numpy(train.images[np.sort(some)]))
            if spread > 0:
                self._real[label] = spread
        self._asked = torch.tensor(list(self._real), dtype=torch.int64).repeat_interleave(FIXED)

    def of(self, generator: Generator) -> dict[int, float]:
        """Class → mean distance of its images over that of real ones; classes of equal images apart."""
        if not self._real:
            return {}
        images = generator.sample(self._asked, torch_stream(self._seed, "fixed batch"))
        return {
            label: _spread(images[self._asked == label]) / real
            for label, real in self._real.items()
        }


def _spread(images: torch.Tensor) -> float:
    """Mean root-mean-square distance of two different images of uint8 (N,C,H,W)."""
    flat = images.flatten(1).double()
    n = len(flat)
    return float(torch.pdist(flat).sum() / (n * (n - 1) / 2) / flat.shape[1] ** 0.5)


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

    A generator without a budget is validated once, as it stands. Where a loss or metric is not finite, or a
    class collapses, the last good state comes back with half the learning rate, TRIES times at most; then
    training ends with the best so far. With a `checkpoint` every tick is saved, and a training that was
    begun goes on, to the same result bit for bit on one machine's CPU.
    Raises NotTrainedError where no finite metric was ever reached, UserError for another training's checkpoint.
    """
    generator.prepare(train)
    loop = _Loop(generator, train, budget, runtime, seed, hooks)
    loop.resume(checkpoint)
    targets = [budget.kimg * 1000 * (i + 1) / budget.ticks for i in range(budget.ticks)]
    if budget.kimg == 0:
        targets = [0.0]
    while loop.at.tick < len(targets) and not loop.at.stopped:
        loop.tick(targets[loop.at.tick], checkpoint)
    if not math.isfinite(loop.at.best_metric):
        why = loop.at.stopped or "the budget is spent"
        raise NotTrainedError(
            f"the generator never reached a finite validation metric: {why}; "
            "a lower learning_rate may help"
        )
    return loop.fitted()


@dataclass
class _Place:
    """Where the loop stands: all of it besides the generator's own state and the stream of rows."""

    seen: float = 0.0
    tick: int = 0
    seconds: float = 0.0
    best_kimg: float = 0.0
    best_metric: float = math.inf
    since_best: int = 0
    tries: int = 0
    alive: list[int] = field(default_factory=list)  # classes that were diverse enough before
    stopped: str = ""


@dataclass
class _Stretch:
    """What happened between two ticks."""

    losses: dict[str, float]
    images: float
    seconds: float
    failed: str


class _Loop:
    def __init__(
        self, generator: Generator, train: ImageSet, budget: GeneratorConfig, runtime: Runtime,
        seed: int, hooks: Hooks,
    ) -> None:  # fmt: skip
        self._generator, self._budget, self._hooks = generator, budget, hooks
        self._pool = Pool(train, runtime)
        self._rows = ClassUniform(train, torch_stream(seed, "generator batches"), budget.together)
        watched = budget.kimg > 0 and budget.collapse > 0
        self._diversity = Diversity(train, seed) if watched else None
        self.at, self._ticks = _Place(), list[Tick]()
        self._good = (copy.deepcopy(generator.state_dict()), copy.copy(self.at))
        self._best = self._good[0]
        self._lowered = 0  # how often the rate was lowered since the last good state

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Go to where the checkpoint was left, if there is one."""
        state = checkpoint.load() if checkpoint else None
        if state is None:
            return
        self._generator.load_state_dict(state["generator"])
        self._best = state["best"]
        self.at = _Place(**state["place"])
        self._ticks = [Tick(**tick) for tick in state["ticks"]]
        self._rows.rng.set_state(state["rows"])
        self._good = (copy.deepcopy(self._generator.state_dict()), copy.deepcopy(self.at))

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save(
            {
                "generator": self._generator.state_dict(),
                "best": self._best,
                "place": asdict(self.at),
                "ticks": [asdict(tick) for tick in self._ticks],
                "rows": self._rows.rng.get_state(),
            }
        )

    def tick(self, target: float, checkpoint: Checkpoint | None) -> None:
        """Train up to `target` images, look, keep or set back."""
        stretch = self._train_to(target)
        self.at.seconds += stretch.seconds
        if stretch.images == 0 and self._budget.kimg > 0:
            self.at.tick += 1  # more ticks than steps: there is nothing new to look at
            return
        begun = time.perf_counter()
        metric, least = math.nan, math.nan
        if not stretch.failed:
            metric = parallel.agreed(self._hooks.validate(self._generator))
            least, stretch.failed = self._looked(metric)
        self.at.seconds += time.perf_counter() - begun
        self._told(stretch, metric, least)
        if stretch.failed:
            self._set_back(stretch.failed)
            return
        self.at.tick += 1
        patience = self._budget.patience
        if patience is not None and self.at.since_best >= patience:
            self.at.stopped = f"no new best in {patience} ticks"
        self._good = (copy.deepcopy(self._generator.state_dict()), copy.deepcopy(self.at))
        self._lowered = 0
        if checkpoint and parallel.leads():
            self._save(checkpoint)

    def _train_to(self, target: float) -> _Stretch:
        begun = told = time.perf_counter()
        before, steps, failed = self.at.seen, 0, ""
        totals: dict[str, torch.Tensor] = {}
        times: dict[str, int] = {}
        while self.at.seen < target and not failed:
            rows = self._rows.draw(self._budget.batch)
            for name, loss in self._generator.step(
                self._pool.gather(rows), self._pool.labels[rows]
            ).items():
                totals[name] = totals.get(name, torch.zeros_like(loss)) + loss
                times[name] = times.get(name, 0) + 1
            self.at.seen += self._budget.batch
            steps += 1
            if steps % CHECKED == 0 or self.at.seen >= target:
                failed = self._not_finite(totals)
                now = time.perf_counter()
                if now - told >= TOLD:
                    told = now
                    rate = (self.at.seen - before) / (now - begun)
                    self._hooks.on_progress(self.at.seen / 1000, rate)
        means = {name: total / times[name] for name, total in parallel.means(totals).items()}
        seconds = max(time.perf_counter() - begun, 1e-9)
        return _Stretch(means, self.at.seen - before, seconds, failed)

    def _not_finite(self, totals: Mapping[str, torch.Tensor]) -> str:
        bad = [name for name, total in parallel.means(totals).items() if not math.isfinite(total)]
        return f"{bad[0]} is not finite at {self.at.seen / 1000:g} kimg" if bad else ""

    def _looked(self, metric: float) -> tuple[float, str]:
        """The least diverse class's share, and what is wrong with the generator, or ""."""
        kimg = f"{self.at.seen / 1000:g} kimg"
        if not math.isfinite(metric):
            return math.nan, f"the validation metric is not finite at {kimg}"
        if self._diversity is None:
            return math.nan, ""
        found = parallel.agreed(self._diversity.of(self._generator))
        # Falling is what collapses: early on, every class is drawn much alike.
        fallen = [c for c in self.at.alive if found[c] < self._budget.collapse]
        if fallen:
            return min(found.values()), f"class {fallen[0]} collapsed at {kimg}"
        self.at.alive = [c for c, share in found.items() if share >= self._budget.collapse]
        return min(found.values(), default=math.nan), ""

    def _told(self, stretch: _Stretch, metric: float, least: float) -> None:
        best = not stretch.failed and metric < self.at.best_metric
        self.at.since_best = 0 if best else self.at.since_best + 1
        if best:
            self._best = copy.deepcopy(self._generator.state_dict())
            self.at.best_kimg, self.at.best_metric = self.at.seen / 1000, metric
        tick = Tick(
            kimg=self.at.seen / 1000,
            total_kimg=self._budget.kimg,
            losses=stretch.losses,
            metric=metric,
            best=best,
            images_per_second=stretch.images / stretch.seconds,
            seconds=self.at.seconds,
            diversity=least,
            restarted=stretch.failed,
        )
        tick.kept.update(self._hooks.on_tick(tick, self._generator))
        self._ticks.append(tick)

    def _set_back(self, reason: str) -> None:
        """The last good state with half the learning rate, or the end."""
        if self.at.tries == TRIES or self._budget.kimg == 0:
            self.at.stopped = f"{reason}, after {self.at.tries} restarts"
            return
        state, place = self._good
        self._generator.load_state_dict(copy.deepcopy(state))
        self._lowered += 1
        self._generator.lower_learning_rate(SLOWER**self._lowered)
        # The stream of rows goes on: the same batches would end the same way.
        self.at = copy.deepcopy(place)
        self.at.tries = self._good[1].tries + self._lowered
        self.at.seconds = self._ticks[-1].seconds

    def fitted(self) -> Fitted:
        """What came of it; `stopped` also tells of restarts."""
        stopped = self.at.stopped or "the budget is spent"
        restarts = [tick.restarted for tick in self._ticks if tick.restarted]
        if restarts and self.at.tries:
            stopped = f"{stopped}; set back {self.at.tries} times, first because {restarts[0]}"
        return Fitted(self._best, self.at.best_kimg, self.at.best_metric, self._ticks, stopped)
