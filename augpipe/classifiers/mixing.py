"""Training batches of a classifier: real and synthetic images, mixed by the options of an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers.objective import objective
from augpipe.classifiers.options import Mix, Prefer
from augpipe.classifiers.transforms import transform
from augpipe.core.counts import Counts, label_of
from augpipe.core.device import ClassRows, Pool, Runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy, torch_stream

LEAST_CHECK_VALUE = 1e-3  # of `prefer`: powers below 0 stay finite
LEAST_TOTAL = 1e-3  # of the classes' weights: their fractions stay finite
MOST_OFTEN = 10.0  # times as often as a real image of its class a synthetic one is drawn at most
_POWER = {"natural": 1.0, "sqrt": 0.5, "balanced": 0.0}


@dataclass(frozen=True)
class Batch:
    """images: uint8 (N,C,H,W). labels: int64 (N,). synthetic: bool (N,)."""

    images: torch.Tensor
    labels: torch.Tensor
    synthetic: torch.Tensor


class Mixture:
    """Endless stream of random batches of real and synthetic images.

    Every batch consumes the same random numbers whatever the mix: arms with the same seed and sampler see the same
    classes and, if an item is real, the same image.
    """

    def __init__(
        self,
        real: ImageSet,
        synthetic: ImageSet | None,
        mix: Mix,
        runtime: Runtime,
        *,
        seed: int,
        soft_labels: torch.Tensor | None = None,
    ) -> None:
        """soft_labels: float (M,K), the reference classifier's probabilities for each synthetic image;
        required for soft labels.
        """
        self.origin_flag = mix.origin_flag
        self._real = Pool(real, runtime)
        self._synthetic = None if synthetic is None else Pool(synthetic, runtime)
        self._real_rows = ClassRows(real)
        self._synthetic_rows = ClassRows(synthetic) if synthetic is not None else None
        real_counts = real.counts()
        synthetic_counts = synthetic.counts() if synthetic is not None else dict.fromkeys(real_counts, 0)
        self.shares = shares(real_counts, synthetic_counts, mix, real.classes)
        self.class_probabilities = class_probabilities(real_counts, drawn_counts(synthetic_counts, self.shares), mix)
        # Weight of each class in the loss, given the weight of synthetic images.
        weighted = self.class_probabilities * (1 + self.shares * (mix.synthetic_weight - 1))
        prior = weighted / weighted.sum().clamp(min=LEAST_TOTAL)
        self.objective = objective(mix.loss, mix.weights, mix.defer, prior, real_counts)
        self.blend: str = mix.blend
        self.alpha = mix.alpha
        self.norms_apart = mix.norms_apart
        self.synthetic_weight, self._until = mix.synthetic_weight, mix.until
        self._cumulative = torch.cumsum(self.class_probabilities, 0)
        self._rng = torch_stream(seed, "classifier batches")
        self._soft = None if synthetic is None or not mix.soft else _Soft(mix.soft, soft_labels, seed)
        self._transform = transform(mix.transform, entropy(seed, "transform")) if mix.transform else None

    def draw(self, n: int, done: float = 0.0) -> Batch:
        """Draw n images with replacement: first the class, then real or synthetic, then the image.

        done: fraction of training, in [0, 1).
        """
        u = torch.rand(3, n, generator=self._rng, dtype=torch.float64)
        last = len(self._cumulative) - 1
        labels = torch.searchsorted(self._cumulative, u[0] * self._cumulative[-1], right=True)
        labels = labels.clamp_(max=last)
        synthetic = (u[1] < self.shares[labels]) & (done < self._until)
        images = self._real.gather(self._real_rows.pick(labels, u[2]))
        if self._synthetic is not None and self._synthetic_rows is not None and bool(synthetic.any()):
            rows = self._synthetic_rows.pick(labels[synthetic], u[2][synthetic])
            images[synthetic.to(images.device)] = self._synthetic.gather(rows)
            if self._soft is not None:
                labels[synthetic] = self._soft.draw(labels[synthetic], rows)
        if self._transform is not None:
            images = self._transform(images)
        return Batch(images, labels, synthetic)


class _Soft:
    """Soft labels of synthetic images, drawn anew each time that an image is drawn."""

    def __init__(self, share: float, probabilities: torch.Tensor | None, seed: int) -> None:
        if probabilities is None:
            raise ValueError("soft labels need the real-only classifier's probabilities of each image")
        self._share, self._ends = share, torch.cumsum(probabilities.double(), 1)
        self._rng = torch_stream(seed, "soft labels")

    def draw(self, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """int64 (N,): with probability `share` a label drawn from the classifier's probabilities,
        else the given one.
        """
        u = torch.rand(2, len(rows), generator=self._rng, dtype=torch.float64)
        ends = self._ends[rows]
        other = torch.searchsorted(ends, (u[0] * ends[:, -1])[:, None], right=True)[:, 0]
        return torch.where(u[1] < self._share, other.clamp_(max=ends.shape[1] - 1), labels)


def class_probabilities(real: Counts, synthetic: Counts, mix: Mix) -> torch.Tensor:
    """Probability that an item is of each class, float64 (K,), sum 1; 0 for classes without a real image."""
    pooled = torch.tensor([real[c] + synthetic[c] if real[c] else 0 for c in sorted(real)]).double()
    weight = torch.where(pooled > 0, pooled ** _POWER[mix.sampler], 0.0)
    return weight / weight.sum()


def drawn_counts(synthetic: Counts, shares: torch.Tensor) -> dict[int, int]:
    """Synthetic counts, 0 for classes with share 0:
    images that are never drawn must not raise the class probability.
    """
    return {c: n if shares[c] > 0 else 0 for c, n in synthetic.items()}


def shares(real: Counts, synthetic: Counts, mix: Mix, classes: Sequence[str]) -> torch.Tensor:
    """Probability that an item of each class is synthetic, float64 (K,); 0 for classes without synthetic images."""
    requested = mix.share
    if requested in ("auto", "per_class"):
        raise ValueError(f"share: {requested} must be resolved on val before batches are drawn")
    if requested == "fill":
        values = [synthetic[c] / max(1, real[c] + synthetic[c]) for c in sorted(real)]
    else:
        by_class = (
            {label_of(name, classes): share for name, share in requested.items()}
            if isinstance(requested, Mapping)
            else dict.fromkeys(real, float(requested))
        )
        values = [_share(by_class.get(c, 0.0), real[c], synthetic[c]) for c in sorted(real)]
    return torch.tensor(values, dtype=torch.float64)


def _share(requested: float, real: int, synthetic: int) -> float:
    """The requested share, limited such that no synthetic image is drawn over MOST_OFTEN times as often as a real one.

    Without the limit, a class with a single synthetic image could show it half of the time. A share of 1 requests
    synthetic images alone, and is not limited.
    """
    if requested == 1 or not synthetic:
        return requested if synthetic else 0.0
    limit = MOST_OFTEN * synthetic / max(1, real)
    return min(requested, limit / (1 + limit))


def preferred(synthetic: ImageSet, checks: pd.DataFrame, prefer: Prefer) -> ImageSet:
    """The same images with sampling weights (mean 1) from a check's values.
    checks: table of id and each check's value.
    """
    check_values = checks.set_index("id").loc[synthetic.table["id"], prefer.check].to_numpy(np.float64)
    finite = np.isfinite(check_values)
    highest = check_values[finite].max() if finite.any() else 1.0
    values = np.where(finite, check_values, highest).clip(LEAST_CHECK_VALUE) ** prefer.power
    weights = values / values.mean() if len(values) else values
    return ImageSet(synthetic.images, synthetic.labels, synthetic.classes, synthetic.table.assign(weight=weights))
