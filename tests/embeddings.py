"""Sets as the metrics see them, from vectors that a test draws."""

from __future__ import annotations

import numpy as np
import torch

from augpipe.classifiers.models import Shape, build
from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.trained import Trained
from augpipe.core.device import Runtime
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared

SIDE = 16


def gauss(n: int, d: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """float32 (n,d)."""
    return np.random.default_rng(seed).normal(shift, scale, (n, d)).astype(np.float32)


def painted(vectors: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 (N,1,side,side): the same picture for the same vector, and near ones for near ones."""
    strokes = np.random.default_rng(12345).normal(size=(vectors.shape[1], side * side))
    grey = 128 + 30 * vectors @ strokes / vectors.shape[1] ** 0.5
    return grey.clip(0, 255).round().astype(np.uint8).reshape(-1, 1, side, side)


def embedded(
    vectors: np.ndarray,
    labels: np.ndarray | None = None,
    images: np.ndarray | None = None,
    classes: int = 2,
    wrong: float = 0.0,
    groups: np.ndarray | None = None,
) -> Embedded:
    """wrong: share of images, the first ones, that the classifier takes for the next class."""
    n = len(vectors)
    labels = np.zeros(n, np.int64) if labels is None else labels
    seen = labels.copy()
    seen[: round(wrong * n)] += 1
    probabilities = np.full((n, classes), 0.1 / (classes - 1), np.float32)
    probabilities[np.arange(n), seen % classes] = 0.9
    images = painted(vectors) if images is None else images
    return Embedded(vectors.astype(np.float32), probabilities, labels, images, groups)


def sides(
    n: int, m: int, d: int = 6, shift: float = 0.4, scale: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Compared]:
    """Real vectors, synthetic vectors that are shifted, and both as they are compared."""
    x, y = gauss(n, d, seed=seed), gauss(m, d, shift, scale, seed=seed + 1)
    return x, y, Compared(embedded(x), embedded(y))


def double(x: np.ndarray) -> torch.Tensor:
    """float64, as other libraries compute."""
    return torch.from_numpy(x).double()


class Passes(torch.nn.Module):
    """torchmetrics' hook for features of one's own: hands them through."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def untrained(here: Runtime, seed: int = 0, classes: int = 2) -> Trained:
    net = build(ClassifierOptions(width=0.25), Shape(1, classes, 0.25), torch.Generator().manual_seed(seed))
    here.place(net).eval()
    return Trained(net, False, 0, [])
