"""real + synthetic + mix → what a classifier's batch is drawn from."""

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

LEAST_VALUE = 1e-3  # of a check, so that a power below 0 keeps to numbers
OFTEN = 10.0  # as often as a real image of its class a synthetic one comes at most
_POWER = {"natural": 1.0, "sqrt": 0.5, "balanced": 0.0}


@dataclass(frozen=True)
class Batch:
    """images uint8 (N,C,H,W), labels int64 (N,), synthetic bool (N,)."""

    images: torch.Tensor
    labels: torch.Tensor
    synthetic: torch.Tensor


class Mixture:
    """Endless class-wise batches of real and synthetic images.

    Every batch uses up the same random numbers whatever the mix: arms of one seed and sampler see the
    same classes and, where an item is real, the same image.
    """

    def __init__(
        self,
        real: ImageSet,
        synthetic: ImageSet | None,
        mix: Mix,
        runtime: Runtime,
        *,
        seed: int,
        said: torch.Tensor | None = None,
    ) -> None:
        """said: float (M,K), what the real-only classifier says of each synthetic image; needed where labels are soft."""
        self.origin_flag = mix.origin_flag
        self._real = Pool(real, runtime)
        self._made = None if synthetic is None else Pool(synthetic, runtime)
        self._real_rows = ClassRows(real)
        self._made_rows = ClassRows(synthetic) if synthetic is not None else None
        have = real.counts()
        made = synthetic.counts() if synthetic is not None else dict.fromkeys(have, 0)
        self.shares = shares(have, made, mix, real.classes)
        self.class_probabilities = class_probabilities(have, shown(made, self.shares), mix)
        # What a class counts for in the loss, where synthetic images count for less or more.
        counted = self.class_probabilities * (1 + self.shares * (mix.synthetic_weight - 1))
        prior = counted / counted.sum().clamp(min=LEAST_VALUE)
        self.objective = objective(mix.loss, mix.weights, mix.defer, prior, have)
        self.blend: str = mix.blend
        self.alpha = mix.alpha
        self.norms_apart = mix.norms_apart
        self.synthetic_weight, self._until = mix.synthetic_weight, mix.until
        self._cumulative = torch.cumsum(self.class_probabilities, 0)
        self._rng = torch_stream(seed, "classifier batches")
        self._soft = None if synthetic is None or not mix.soft else _Soft(mix.soft, said, seed)
        self._transform = (
            transform(mix.transform, entropy(seed, "transform")) if mix.transform else None
        )

    def draw(self, n: int, done: float = 0.0) -> Batch:
        """n images with replacement: the class first, then real or synthetic, then which."""
        u = torch.rand(3, n, generator=self._rng, dtype=torch.float64)
        last = len(self._cumulative) - 1
        labels = torch.searchsorted(self._cumulative, u[0] * self._cumulative[-1], right=True)
        labels = labels.clamp_(max=last)
        synthetic = (u[1] < self.shares[labels]) & (done < self._until)
        images = self._real.gather(self._real_rows.pick(labels, u[2]))
        if self._made is not None and self._made_rows is not None and bool(synthetic.any()):
            rows = self._made_rows.pick(labels[synthetic], u[2][synthetic])
            images[synthetic.to(images.device)] = self._made.gather(rows)
            if self._soft is not None:
                labels[synthetic] = self._soft.drawn(labels[synthetic], rows)
        if self._transform is not None:
            images = self._transform(images)
        return Batch(images, labels, synthetic)


class _Soft:
    """Labels of synthetic images, drawn for each time that one comes."""

    def __init__(self, share: float, said: torch.Tensor | None, seed: int) -> None:
        if said is None:
            raise ValueError("soft labels need what the real-only classifier says of each image")
        self._share, self._ends = share, torch.cumsum(said.double(), 1)
        self._rng = torch_stream(seed, "soft labels")

    def drawn(self, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """int64 (N,): each label, or by `share` one that the classifier's probabilities for the row give."""
        u = torch.rand(2, len(rows), generator=self._rng, dtype=torch.float64)
        ends = self._ends[rows]
        other = torch.searchsorted(ends, (u[0] * ends[:, -1])[:, None], right=True)[:, 0]
        return torch.where(u[1] < self._share, other.clamp_(max=ends.shape[1] - 1), labels)


def class_probabilities(real: Counts, made: Counts, mix: Mix) -> torch.Tensor:
    """How often each class comes, float64 (K,), sum 1; classes without a real image never come."""
    pooled = torch.tensor([real[c] + made[c] if real[c] else 0 for c in sorted(real)]).double()
    weight = torch.where(pooled > 0, pooled ** _POWER[mix.sampler], 0.0)
    return weight / weight.sum()


def shown(made: Counts, shares: torch.Tensor) -> dict[int, int]:
    """Synthetic images of classes that show any: what is never drawn is not to make its class come more often."""
    return {c: n if shares[c] > 0 else 0 for c, n in made.items()}


def shares(real: Counts, made: Counts, mix: Mix, classes: Sequence[str]) -> torch.Tensor:
    """How often an item of each class is synthetic, float64 (K,); 0 where none were made."""
    asked = mix.share
    if asked in ("auto", "per_class"):
        raise ValueError(f"share: {asked} stands for what is chosen on val first")
    if asked == "fill":
        values = [made[c] / max(1, real[c] + made[c]) for c in sorted(real)]
    else:
        named = (
            {label_of(name, classes): share for name, share in asked.items()}
            if isinstance(asked, Mapping)
            else dict.fromkeys(real, float(asked))
        )
        values = [_share(named.get(c, 0.0), real[c], made[c]) for c in sorted(real)]
    return torch.tensor(values, dtype=torch.float64)


def _share(asked: float, real: int, made: int) -> float:
    """A class that lacks one image to the largest gets one, which is not to be half of what is seen of it.

    A share of 1 asks for synthetic images alone, and is that.
    """
    if asked == 1 or not made:
        return asked if made else 0.0
    odds = OFTEN * made / max(1, real)
    return min(asked, odds / (1 + odds))


def preferred(made: ImageSet, checks: pd.DataFrame, prefer: Prefer) -> ImageSet:
    """The same images with weights to be drawn by (mean 1); checks: id, and each check's value."""
    order = checks.set_index("id").loc[made.table["id"], prefer.check].to_numpy(np.float64)
    known = np.isfinite(order)
    most = order[known].max() if known.any() else 1.0
    values = np.where(known, order, most).clip(LEAST_VALUE) ** prefer.power
    weights = values / values.mean() if len(values) else values
    return ImageSet(made.images, made.labels, made.classes, made.table.assign(weight=weights))
