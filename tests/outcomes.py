"""Predictions on test of trainings whose true rates are known."""

from __future__ import annotations

import numpy as np

LABELS = np.repeat(np.arange(4), [60, 60, 60, 60]).astype(np.int64)
TRUTH = np.repeat([0, 1, 2], [60, 20, 12]).astype(np.int64)


def runs(p: float, seeds: int = 3, spread: float = 0.0, seed: int = 0, labels: np.ndarray = LABELS) -> np.ndarray:
    """Hits of `seeds` runs whose true rate varies by `spread` around p."""
    rng = np.random.default_rng(seed)
    rates = np.clip(p + spread * rng.normal(size=seeds), 0, 1)
    return rng.random((seeds, len(labels))) < rates[:, None]


def arm(seed: int, missed: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Classes of TRUTH by five trainings: nine of ten images of class 0 right, none of the classes `missed`."""
    rng = np.random.default_rng(seed)
    right = (rng.random((5, 1, len(TRUTH))) < 0.9) & ~np.isin(TRUTH, missed)
    return np.where(right, TRUTH, (TRUTH + 1) % 3)
