"""Train a classifier on drawn batches, select its best checkpoint on val, and predict probabilities."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.classifiers.mixing import Batch
from augpipe.classifiers.models import Classifier, Shape, build, start
from augpipe.classifiers.objective import Named, Objective
from augpipe.classifiers.options import ClassifierOptions
from augpipe.core.device import Pool, Runtime
from augpipe.core.images import ImageSet, to_float
from augpipe.core.neighbours import nearest
from augpipe.core.seeds import numpy_stream, torch_stream
from augpipe.nn.blend import Blender
from augpipe.nn.blocks import use_rng
from augpipe.nn.losses import classification as cross_entropy
from augpipe.nn.norms import apart

PREDICTED_AT_ONCE = 512  # images per forward pass


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
class Evaluation:
    """An evaluation on val during training."""

    step: int
    loss: float  # mean training loss since the last one
    val_macro_recall: float
    val_loss: float
    val_recalls: dict[int, float]  # label → recall, for classes present in val


@dataclass
class Trained:
    """A trained classifier, at its best checkpoint on val."""

    net: Classifier
    origin_flag: bool
    best_step: int
    history: list[Evaluation]


def train(
    batches: Batches,
    val: ImageSet,
    options: ClassifierOptions,
    runtime: Runtime,
    *,
    seed: int,
    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None,
) -> Trained:
    """Train with AdamW and a one-cycle rate; return the weights with the best macro recall on val (ties: lowest loss).

    Calls with the same seed start from the same weights whatever the batches, so that arms are paired.
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
    use_rng(net, torch_stream(seed, "classifier dropout", device=runtime.device))
    trained = Trained(net, batches.origin_flag, 0, [])
    learner = _Learner(net, batches, options, runtime, numpy_stream(seed, "blend"))
    best, state = (math.inf, math.inf), net.state_dict()
    for step, evaluate in _steps(options):
        learner.step()
        if not evaluate:
            continue
        recalls, val_loss = _evaluate(net, val, batches.origin_flag, runtime)
        recall = math.fsum(recalls.values()) / len(recalls)
        evaluation = Evaluation(step, learner.mean_loss(), recall, val_loss, recalls)
        trained.history.append(evaluation)
        if (-recall, val_loss) < best:
            best, trained.best_step = (-recall, val_loss), step
            state = copy.deepcopy(net.state_dict())
        on_evaluation(evaluation)
    net.load_state_dict(state)
    net.eval()
    return trained


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
        rng: np.random.Generator,
    ) -> None:
        self._net, self._batches, self._runtime = net, batches, runtime
        self._batch, self._steps, self._done = options.batch, options.steps, 0
        self._optimiser = torch.optim.AdamW(
            net.parameters(), options.learning_rate, weight_decay=options.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, options.learning_rate, total_steps=options.steps
        )
        blend = batches.blend
        self._blender = None if blend == "none" else Blender(blend, batches.alpha, rng)
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
        """Logits (N,K). With `norms_apart`, synthetic images use their own batch norms; a single image joins the other group.

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
        return x, [
            Named(labels, ratio * weight),
            Named(labels[partner], (1 - ratio) * weight[partner]),
        ]

    def mean_loss(self) -> float:
        """Mean training loss since the last call."""
        mean = float(self._total) / self._since
        self._total, self._since = torch.zeros_like(self._total), 0
        return mean


def inputs(
    images: torch.Tensor, synthetic: torch.Tensor | None, origin_flag: bool, runtime: Runtime
) -> torch.Tensor:
    """uint8 (N,C,H,W) → float32 in [-1,1] on the device, with the origin flag as an extra channel if `origin_flag`.

    The flag is 1 for synthetic and 0 for real images; with `synthetic` None every image is real, as at test time (DAGAN:
    Antoniou et al. 2017).
    """
    x = to_float(runtime.move(images))
    if not origin_flag:
        return x
    n, _, h, w = x.shape
    flag = torch.zeros(n) if synthetic is None else synthetic.float()
    plane = flag.to(x.device)[:, None, None, None].expand(n, 1, h, w)
    return torch.cat([x, plane], 1).contiguous(memory_format=runtime.memory_format)


@torch.no_grad()
def _forward(
    call: Callable[[torch.Tensor], torch.Tensor],
    net: Classifier,
    images: ImageSet,
    origin_flag: bool,
    runtime: Runtime,
) -> torch.Tensor:
    net.eval()
    pool = Pool(images, runtime, limit=0)
    parts = []
    for rows in torch.arange(len(images)).split(PREDICTED_AT_ONCE):
        with runtime.autocast():
            parts.append(call(inputs(pool.gather(rows), None, origin_flag, runtime)).float().cpu())
    return torch.cat(parts)


def predict_beside(
    trained: Trained, images: ImageSet, synthetic: ImageSet, k: int, weight: float, runtime: Runtime
) -> NDArray[np.float32]:
    """Probabilities float32 (N,K) from features averaged with those of near synthetic images.

    The features become (1 - weight) times the image's plus `weight` times the mean of its k nearest in `synthetic`; all of
    them if there are fewer than k, none changes nothing. The origin flag of `synthetic` is 0, as for real images.
    """
    features, _ = embed_and_predict(trained, images, runtime)
    if len(synthetic):
        points, _ = embed_and_predict(trained, synthetic, runtime)
        _, rows = nearest(features, points, min(k, len(synthetic)))
        # In chunks: the gathered neighbours take k times the memory of the features.
        for start in range(0, len(features), PREDICTED_AT_ONCE):
            chunk = slice(start, start + PREDICTED_AT_ONCE)
            features[chunk] = (1 - weight) * features[chunk] + weight * points[rows[chunk]].mean(1)
    with torch.no_grad(), runtime.autocast():
        logits = trained.net.head(torch.from_numpy(features).to(runtime.device)).float().cpu()
    probabilities: NDArray[np.float32] = torch.softmax(logits, 1).numpy()
    return probabilities


def predict(trained: Trained, images: ImageSet, runtime: Runtime) -> NDArray[np.float32]:
    """Probabilities float32 (N,K); the origin flag, if the classifier has one, is 0 (real)."""
    logits = _forward(trained.net, trained.net, images, trained.origin_flag, runtime)
    probabilities: NDArray[np.float32] = torch.softmax(logits, 1).numpy()
    return probabilities


def embed_and_predict(
    trained: Trained, images: ImageSet, runtime: Runtime
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Penultimate features float32 (N,F) and probabilities (N,K) as from `predict`, in one pass."""
    net = trained.net

    def both(x: torch.Tensor) -> torch.Tensor:
        h = net.trunk(x)
        return torch.cat([h.float(), net.head(h).float()], 1)

    outputs = _forward(both, net, images, trained.origin_flag, runtime)
    width = net.head.in_features
    return outputs[:, :width].numpy(), torch.softmax(outputs[:, width:], 1).numpy()


def _evaluate(
    net: Classifier, val: ImageSet, origin_flag: bool, runtime: Runtime
) -> tuple[dict[int, float], float]:
    """Recall of each class present in val, and mean cross-entropy."""
    logits = _forward(net, net, val, origin_flag, runtime)
    labels = torch.from_numpy(np.array(val.labels))
    right = (logits.argmax(1) == labels).double()
    recalls = {int(c): float(right[labels == c].mean()) for c in labels.unique()}
    return recalls, float(cross_entropy(logits, labels))


def state_of(trained: Trained, options: ClassifierOptions) -> dict[str, Any]:
    """The state that `from_state` restores, as tensors and plain values."""
    shape = trained.net.shape
    return {
        "weights": trained.net.state_dict(),
        "options": options.model_dump(mode="json"),
        "shape": [
            shape.channels,
            shape.classes,
            shape.width,
            shape.scale,
            shape.pretrained,
            shape.apart,
        ],
        "origin_flag": trained.origin_flag,
        "best_step": trained.best_step,
    }


def from_state(state: dict[str, Any], runtime: Runtime) -> Trained:
    """Restore a trained classifier from its state."""
    options = ClassifierOptions.model_validate(state["options"])
    net = build(options, Shape(*state["shape"]), torch.Generator())
    net.load_state_dict(state["weights"])
    runtime.place(net).eval()
    return Trained(net, state["origin_flag"], state["best_step"], [])
