"""Train a classifier on drawn batches and select its best checkpoint on val."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch

from augpipe.classifiers.mixing import Batch
from augpipe.classifiers.models import Classifier, Shape, start
from augpipe.classifiers.objective import Named, Objective
from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.trained import Evaluation, Trained, forward, inputs
from augpipe.core.checkpoint import Checkpoint, Clocked
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import numpy_stream, torch_stream
from augpipe.nn.blend import Blender
from augpipe.nn.blocks import use_rng
from augpipe.nn.losses import classification as cross_entropy
from augpipe.nn.norms import apart


class Batches(Protocol):
    """The training batches of a classifier, and the options of its loss."""

    origin_flag: bool
    objective: Objective
    blend: str  # mixup, cutmix (see `nn.blend`), or none
    alpha: float | None  # parameter of the Beta distribution of `blend`; None: as in the paper
    synthetic_weight: float  # weight of a synthetic image in the loss; a real one has 1
    norms_apart: bool  # separate batch norms for synthetic images

    def draw(self, n: int, done: float) -> Batch:
        """The next batch. done: fraction of training, in [0, 1)."""


@dataclass(frozen=True)
class Resume:
    """Where a training is saved, and how its time is measured: see `core.checkpoint.Clocked`."""

    checkpoint: Checkpoint
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a training. on_evaluation: after each evaluation. on_step: after each step, with its number."""

    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None
    on_step: Callable[[int], None] = lambda step: None


def train(
    batches: Batches,
    val: ImageSet,
    options: ClassifierOptions,
    runtime: Runtime,
    *,
    seed: int,
    hooks: Hooks = Hooks(),
    resume: Resume | None = None,
) -> Trained:
    """Train with AdamW and a one-cycle rate; return the weights with the best macro recall on val (ties: lowest loss).

    Calls with the same seed start from the same weights whatever the batches, so that arms are paired. resume: continue
    the training that was interrupted there, to the same bytes; batches it has used are drawn again and dropped.
    """
    planes = int(batches.origin_flag)
    shape = Shape(
        val.spec.channels + planes,
        len(val.classes),
        options.width,
        batches.objective.scale,
        options.pretrained,
        batches.norms_apart,
    )
    net = start(options, shape, torch_stream(seed, "classifier"), planes)
    runtime.place(net)
    dropout = torch_stream(seed, "classifier dropout", device=runtime.device)
    use_rng(net, dropout)
    learner = _Learner(net, batches, options, runtime, (numpy_stream(seed, "blend"), dropout))
    training = _Training(learner, Trained(net, batches.origin_flag, 0, []))
    clocked = None if resume is None else Clocked(resume.checkpoint, resume.clock)
    done = 0 if resume is None else training.resumed(resume.checkpoint)
    for step, evaluate in _steps(options):
        if step <= done:
            continue
        learner.step()
        hooks.on_step(step)
        if evaluate:
            hooks.on_evaluation(training.evaluate(step, val, runtime))
        if clocked is not None:
            clocked.save_if_due(training.state)
    if resume is not None:
        resume.checkpoint.remove()
    return training.best()


class _Training:
    """A classifier in training, with the evaluations so far and the best weights."""

    def __init__(self, learner: _Learner, trained: Trained) -> None:
        self._learner, self._trained = learner, trained
        self._best, self._weights = (math.inf, math.inf), trained.net.state_dict()

    def evaluate(self, step: int, val: ImageSet, runtime: Runtime) -> Evaluation:
        """Evaluate on val, and keep the weights if they are the best."""
        trained = self._trained
        recalls, val_loss = _evaluate(trained.net, val, trained.origin_flag, runtime)
        recall = math.fsum(recalls.values()) / len(recalls)
        evaluation = Evaluation(step, self._learner.mean_loss(), recall, val_loss, recalls)
        trained.history.append(evaluation)
        if (-recall, val_loss) < self._best:
            self._best, trained.best_step = (-recall, val_loss), step
            self._weights = copy.deepcopy(trained.net.state_dict())
        return evaluation

    def best(self) -> Trained:
        """The classifier with its best weights."""
        self._trained.net.load_state_dict(self._weights)
        self._trained.net.eval()
        return self._trained

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, as tensors and plain values."""
        return {
            "learner": self._learner.state(),
            "best": list(self._best),
            "best_step": self._trained.best_step,
            "weights": self._weights,
            "history": [asdict(evaluation) for evaluation in self._trained.history],
        }

    def resumed(self, checkpoint: Checkpoint) -> int:
        """Load the saved state, if there is one; returns the number of steps done."""
        state = checkpoint.load()
        if state is None:
            return 0
        done = self._learner.resume(state["learner"])
        self._trained.history += [Evaluation(**values) for values in state["history"]]
        self._trained.best_step = state["best_step"]
        if self._trained.best_step:  # until then, the weights are those of the net
            self._best = (state["best"][0], state["best"][1])
            self._weights = state["weights"]
        return done


def _steps(options: ClassifierOptions) -> Iterator[tuple[int, bool]]:
    """Pairs of step, from 1 on, and whether to evaluate on val after it; the last step always is evaluated."""
    interval = options.steps / options.evaluations
    evaluated = {max(1, round(interval * k)) for k in range(1, options.evaluations + 1)}
    for step in range(1, options.steps + 1):
        yield step, step in evaluated


class _Learner:
    """Optimiser, schedule and running loss of one classifier."""

    def __init__(
        self,
        net: Classifier,
        batches: Batches,
        options: ClassifierOptions,
        runtime: Runtime,
        streams: tuple[np.random.Generator, torch.Generator],
    ) -> None:
        """streams: of the blended batches, and of the net's dropout."""
        self._net, self._batches, self._runtime = net, batches, runtime
        self._blend_stream, self._dropout_stream = streams
        self._batch, self._steps, self._done = options.batch, options.steps, 0
        self._optimiser = torch.optim.AdamW(
            net.parameters(),
            options.learning_rate,
            weight_decay=options.weight_decay,
            fused=runtime.device.type in ("cpu", "cuda"),
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, options.learning_rate, total_steps=options.steps
        )
        blend = batches.blend
        self._blender = None if blend == "none" else Blender(blend, batches.alpha, streams[0])
        self._total, self._since = torch.zeros((), device=runtime.device), 0

    def step(self) -> None:
        """Draw one batch and do one update."""
        self._net.train()
        done = self._done / self._steps
        batch = self._batches.draw(self._batch, done)
        x = inputs(batch.images, batch.synthetic, self._batches.origin_flag, self._runtime)
        x, targets = self._targets(x, batch)
        with self._runtime.autocast():
            logits = self._logits(x, batch.synthetic)
        loss = self._batches.objective(logits, targets, done)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._schedule.step()
        self._total, self._since = self._total + loss.detach(), self._since + 1
        self._done += 1

    def _logits(self, x: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
        """Logits (N,K). With `norms_apart`, synthetic images use their own batch norms; a single image joins the other
        group.

        A batch of one image has no batch statistics.
        """
        synthetic_rows = synthetic.to(x.device)
        synthetic_count = int(synthetic_rows.sum()) if self._batches.norms_apart else 0
        if synthetic_count < 2 or len(synthetic_rows) - synthetic_count < 2:
            with apart(self._net) if synthetic_count > len(synthetic_rows) / 2 else nullcontext():
                logits_all: torch.Tensor = self._net(x)
            return logits_all
        logits_real: torch.Tensor = self._net(x[~synthetic_rows])
        with apart(self._net):
            logits_synthetic: torch.Tensor = self._net(x[synthetic_rows])
        logits = logits_real.new_empty(len(x), logits_real.shape[1])
        logits[~synthetic_rows], logits[synthetic_rows] = logits_real, logits_synthetic
        return logits

    def _targets(self, x: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, list[Named]]:
        """The input, blended if `blend` is set, and its targets."""
        weight = torch.where(batch.synthetic, self._batches.synthetic_weight, 1.0).to(x.device)
        labels = batch.labels.to(x.device)
        if self._blender is None:
            return x, [Named(labels, None if self._batches.synthetic_weight == 1 else weight)]
        x, partner, ratio = self._blender(x)
        x = x.contiguous(memory_format=self._runtime.memory_format)
        return x, [Named(labels, ratio * weight), Named(labels[partner], (1 - ratio) * weight[partner])]

    def state(self) -> dict[str, Any]:
        """Net, optimiser, schedule, running loss and random streams; not the batches, which are drawn again."""
        return {
            "net": self._net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "loss": (self._total, self._since),
            "done": self._done,
            "dropout": self._dropout_stream.get_state(),
            "blend": self._blend_stream.bit_generator.state,
        }

    def resume(self, state: dict[str, Any]) -> int:
        """Restore `state` of an equal learner, and draw the batches that it has used; returns their number."""
        self._net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        total, self._since = state["loss"]
        self._total = total.to(self._runtime.device)
        self._dropout_stream.set_state(state["dropout"].cpu())
        self._blend_stream.bit_generator.state = state["blend"]
        for step in range(state["done"]):
            self._batches.draw(self._batch, step / self._steps)
        self._done = int(state["done"])
        return self._done

    def mean_loss(self) -> float:
        """Mean training loss since the last call."""
        mean = float(self._total) / self._since
        self._total, self._since = torch.zeros_like(self._total), 0
        return mean


def _evaluate(net: Classifier, val: ImageSet, origin_flag: bool, runtime: Runtime) -> tuple[dict[int, float], float]:
    """Recall of each class present in val, and mean cross-entropy."""
    logits = forward(net, net, val, origin_flag, runtime)
    labels = torch.from_numpy(np.array(val.labels))
    right = (logits.argmax(1) == labels).double()
    recalls = {int(c): float(right[labels == c].mean()) for c in labels.unique()}
    return recalls, float(cross_entropy(logits, labels))
