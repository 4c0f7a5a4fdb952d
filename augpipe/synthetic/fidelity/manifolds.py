"""Metrics of overlap of two sets of features: precision, recall, density, coverage, realism, 1-NN accuracy, support."""

from __future__ import annotations

from typing import Final

import numpy as np

from augpipe.core import neighbours
from augpipe.synthetic.fidelity.base import DENSE, NEIGHBOURS, Compared, Noted, metric

MOST: Final = 5000  # images per set in the 1-NN test
# Quantile of real nearest-neighbour distances below which two images count as the same.
CLOSE: Final = 0.01


@metric("precision")
def precision(c: Compared) -> float:
    """Fraction of synthetic images inside the k-NN ball of a real image (Kynkäänniemi et al. 2019, eq. 2), 0..1."""
    held = neighbours.balls(c.synthetic.vectors, c.real.vectors, c.real_radii[NEIGHBOURS])
    return float((held > 0).mean())


@metric("recall")
def recall(c: Compared) -> float:
    """Fraction of real images inside the k-NN ball of a synthetic image (Kynkäänniemi et al. 2019, eq. 2), 0..1."""
    held = neighbours.balls(c.real.vectors, c.synthetic.vectors, c.synthetic_radii[NEIGHBOURS])
    return float((held > 0).mean())


@metric("density", "coverage", least=DENSE + 1)
def density_and_coverage(c: Compared) -> dict[str, float]:
    """Mean number of real balls around a synthetic image, over k; fraction of real balls with one (Naeem et al. 2020).

    Density may exceed 1. Unlike precision and recall, neither is dominated by a single outlier.
    """
    radius = c.real_radii[DENSE]
    held = neighbours.balls(c.synthetic.vectors, c.real.vectors, radius)
    gap = neighbours.nearest(c.real.vectors, c.synthetic.vectors)[0][:, 0]
    return {"density": float(held.mean() / DENSE), "coverage": float((gap <= radius).mean())}


@metric("realism")
def realism(c: Compared) -> float:
    """Median realism score (Kynkäänniemi et al. 2019, eq. 4): 1 or more is inside the real manifold.

    Balls larger than the median are left out, as in the paper: the ball of a single outlier could hold anything.
    """
    radius = c.real_radii[NEIGHBOURS]
    small = radius <= np.median(radius)
    return float(np.median(neighbours.reach(c.synthetic.vectors, c.real.vectors[small], radius[small])))


@metric("one_nn", "one_nn_real", "one_nn_synthetic", least=10)
def one_nn(c: Compared) -> dict[str, float]:
    """Leave-one-out accuracy of a 1-NN classifier of real against synthetic (Lopez-Paz & Oquab 2017; Xu et al. 2018).

    .5: indistinguishable, 1: perfectly separable. The accuracy on each set tells more: low on real and high on
    synthetic images means mode collapse; both near 0 means copying.
    """
    a, b = c.even("one_nn", MOST)
    both = np.concatenate([c.real.vectors[a], c.synthetic.vectors[b]])
    is_synthetic = np.arange(len(both)) >= len(a)
    nearest = neighbours.nearest(both, both, without_self=True)[1][:, 0]
    right = is_synthetic[nearest] == is_synthetic
    real, synthetic = float(right[~is_synthetic].mean()), float(right[is_synthetic].mean())
    return {"one_nn": (real + synthetic) / 2, "one_nn_real": real, "one_nn_synthetic": synthetic}


@metric("support", least=20)
def support(c: Compared) -> Noted | float:
    """Estimated number of different images that a generator draws, by the birthday paradox (Arora et al. 2018).

    Of n images drawn uniformly from a support of s, n(n-1)/2s pairs are the same image. Two images count as the same if
    they are nearer than the 1% quantile of real nearest-neighbour distances.
    """
    same = float(np.quantile(c.real_radii[1], CLOSE))
    n = len(c.synthetic)
    radius = np.full(n, same, np.float32)
    in_ball = neighbours.balls(c.synthetic.vectors, c.synthetic.vectors, radius)
    pairs = int((in_ball - 1).clip(0).sum()) // 2
    all_pairs = n * (n - 1) / 2
    return all_pairs / pairs if pairs else Noted(all_pairs, "at least: no two images are the same")
