"""A softmax regression on features, trained with class-balanced batches."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from augpipe.classifiers.features import Features, HeadData, LinearHead, log_loss, macro_recall, transformed
from augpipe.core.seeds import torch_stream

BATCH: Final = 256  # features per step
EVALUATIONS: Final = 10
WEIGHT_DECAY: Final = 5e-4


class Schedule(Protocol):
    """How long a head is trained."""

    @property
    def steps(self) -> int:
        """Training steps."""

    @property
    def learning_rate(self) -> float:
        """Peak of the one-cycle schedule."""


def train_head(train: Features, data: HeadData, options: Schedule, seed: int, power: float | None = None) -> LinearHead:
    """The head with the best macro recall on val (ties: lowest loss) of AdamW with a one-cycle rate.

    power: of the features in `train`, which are transformed already. They are standardised for the training alone: the
    result has means and deviations in its weights.
    """
    mean, deviation = train.points.mean(0), train.points.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    regression = _Regression(train, (train.points - mean) / deviation, len(data.counts), options, seed)
    best, key = None, (np.inf, np.inf)
    evaluated = {round(options.steps * k / EVALUATIONS) for k in range(1, EVALUATIONS + 1)}
    for step in range(1, options.steps + 1):
        regression.step()
        if step in evaluated:
            weight = regression.weight.detach().double().numpy() / deviation
            bias = regression.bias.detach().double().numpy() - weight @ mean
            head = LinearHead(weight, bias, power=power, chosen={"step": float(step)})
            logits = transformed(data.val.points, power) @ weight.T + bias
            score = (-macro_recall(logits, data.val.labels), log_loss(logits, data.val.labels))
            if best is None or score < key:
                best, key = head, score
    if best is None:
        raise ValueError("a head needs at least one step")
    return best


class _Regression:
    """Weights, optimiser and class-balanced batches."""

    def __init__(self, train: Features, points: np.ndarray, classes: int, options: Schedule, seed: int) -> None:
        self._rng = torch_stream(seed, "head")
        self._points = torch.from_numpy(points).float()
        order = np.argsort(train.labels, kind="stable")
        self._order = torch.from_numpy(order)
        self._sizes = torch.from_numpy(np.bincount(train.labels, minlength=classes))
        self._starts = torch.cumsum(self._sizes, 0) - self._sizes
        self._present = torch.nonzero(self._sizes)[:, 0]
        width = points.shape[1]
        # The initial weights of torch's linear layers, from this stream.
        bound = width**-0.5
        self.weight = ((2 * torch.rand(classes, width, generator=self._rng) - 1) * bound).requires_grad_()
        self.bias = ((2 * torch.rand(classes, generator=self._rng) - 1) * bound).requires_grad_()
        rate = options.learning_rate
        self._optimiser = torch.optim.AdamW([self.weight, self.bias], rate, weight_decay=WEIGHT_DECAY)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimiser, rate, total_steps=options.steps)

    def step(self) -> None:
        """Draw classes equally often, then a feature of each, and do one update."""
        u = torch.rand(2, BATCH, generator=self._rng, dtype=torch.float64)
        labels = self._present[(u[0] * len(self._present)).long()]
        rows = self._order[self._starts[labels] + (u[1] * self._sizes[labels]).long()]
        loss = F.cross_entropy(F.linear(self._points[rows], self.weight, self.bias), labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._schedule.step()
