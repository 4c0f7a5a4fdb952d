"""Where two sets of features lie: precision and recall, density and coverage, realism, neighbours, support."""

from __future__ import annotations

from typing import Final

import numpy as np

from augpipe.core import neighbours
from augpipe.synthetic.fidelity.base import DENSE, NEIGHBOURS, Compared, Told, metric

MOST: Final = 5000  # images a side in the 1-NN test
CLOSE: Final = 0.01  # share of real images with a nearer fellow than what counts as the same image


@metric("precision")
def precision(c: Compared) -> float:
    """Share of synthetic images inside a real one's k-NN ball (Kynkäänniemi et al. 2019, eq. 2), 0..1."""
    held = neighbours.balls(c.synthetic.vectors, c.real.vectors, c.real_radii[NEIGHBOURS])
    return float((held > 0).mean())


@metric("recall")
def recall(c: Compared) -> float:
    """Share of real images inside a synthetic one's k-NN ball (Kynkäänniemi et al. 2019, eq. 2), 0..1."""
    held = neighbours.balls(c.real.vectors, c.synthetic.vectors, c.synthetic_radii[NEIGHBOURS])
    return float((held > 0).mean())


@metric("density", "coverage", least=DENSE + 1)
def density_and_coverage(c: Compared) -> dict[str, float]:
    """How many real balls hold a synthetic image, over k; share of real balls that hold one (Naeem et al. 2020).

    Density may pass 1. Unlike precision and recall, neither is ruled by a single outlier.
    """
    radius = c.real_radii[DENSE]
    held = neighbours.balls(c.synthetic.vectors, c.real.vectors, radius)
    gap = neighbours.nearest(c.real.vectors, c.synthetic.vectors)[0][:, 0]
    return {"density": float(held.mean() / DENSE), "coverage": float((gap <= radius).mean())}


@metric("realism")
def realism(c: Compared) -> float:
    """Median realism score (Kynkäänniemi et al. 2019, eq. 4): 1 or more is inside the real manifold.

    Balls larger than the median one are left out, as there: a single outlier's ball would hold anything.
    """
    radius = c.real_radii[NEIGHBOURS]
    small = radius <= np.median(radius)
    return float(
        np.median(neighbours.reach(c.synthetic.vectors, c.real.vectors[small], radius[small]))
    )


@metric("one_nn", "one_nn_real", "one_nn_synthetic", least=10)
def one_nn(c: Compared) -> dict[str, float]:
    """Leave-one-out accuracy of a 1-NN classifier of real against synthetic (Lopez-Paz & Oquab 2017; Xu et al. 2018).

    .5 where nothing tells them apart, 1 where all does. Both halves: real images alone low and synthetic ones
    high is a generator that draws few things over and over; both near 0 is one that copies.
    """
    a, b = c.even("one_nn", MOST)
    both = np.concatenate([c.real.vectors[a], c.synthetic.vectors[b]])
    made = np.arange(len(both)) >= len(a)
    nearest = neighbours.nearest(both, both, without_self=True)[1][:, 0]
    right = made[nearest] == made
    real, synthetic = float(right[~made].mean()), float(right[made].mean())
    return {"one_nn": (real + synthetic) / 2, "one_nn_real": real, "one_nn_synthetic": synthetic}


@metric("support", least=20)
def support(c: Compared) -> Told | float:
    """How many different images a generator draws, by the birthday paradox (Arora et al. 2018).

    Of n images drawn evenly from a support of s, n(n-1)/2s pairs are the same one. Two count as the same that
    are nearer to each other than 1% of the real images are to their nearest fellow.
    """
    same = float(np.quantile(c.real_radii[1], CLOSE))
    n = len(c.synthetic)
    radius = np.full(n, same, np.float32)
    found = neighbours.balls(c.synthetic.vectors, c.synthetic.vectors, radius)
    pairs = int((found - 1).clip(0).sum()) // 2
    all_pairs = n * (n - 1) / 2
    return all_pairs / pairs if pairs else Told(all_pairs, "at least: no two images are the same")
