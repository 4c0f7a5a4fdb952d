"""A Gaussian for each class, fitted to encodings: latents that know their class (Mariani et al. 2018, 3.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf


class ClassGaussians:
    """A Gaussian for each class: means (K,Z) and factors (K,Z,Z) of the covariances, all-zero where unseen."""

    def __init__(self, classes: int, latent: int) -> None:
        self.means, self.factors = (
            torch.zeros(classes, latent),
            torch.zeros(classes, latent, latent),
        )

    def fit(self, label: int, encodings: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Mean and shrunk covariance of a class's encodings (N,Z) (Ledoit & Wolf 2004)."""
        mean = encodings.mean(0)
        if len(encodings) > 1:
            covariance, _ = ledoit_wolf(encodings)
            values, vectors = np.linalg.eigh(covariance)
            factor = vectors * np.sqrt(values.clip(0))
        else:
            factor = np.zeros((len(mean), len(mean)))
        self.means[label] = torch.from_numpy(mean)
        self.factors[label] = torch.from_numpy(factor)

    def draw(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """z_c ~ N(mu_c, Sigma_c), float32 (N,Z)."""
        noise = torch.randn(len(labels), self.means.shape[1], generator=rng)
        out = self.means[labels]
        for label in labels.unique():
            own = labels == label
            out[own] += noise[own] @ self.factors[label].T
        return out
