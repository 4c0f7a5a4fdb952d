"""Class-conditional latents: one Gaussian per class, fitted to encodings (Mariani et al. 2018, 3.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class ClassGaussians:
    """One Gaussian per class: means (K,Z) and covariance factors (K,Z,Z), zero for classes not fitted."""

    def __init__(self, classes: int, latent: int) -> None:
        self.means, self.factors = (torch.zeros(classes, latent), torch.zeros(classes, latent, latent))

    def fit(
        self,
        label: int,
        encodings: np.ndarray[Any, np.dtype[np.float64]],
        within: np.ndarray[Any, np.dtype[np.float64]] | None = None,
    ) -> None:
        """Fit mean and shrunk covariance of a class's encodings (N,Z) (Ledoit & Wolf 2004).

        within (Z,): mean variance of the distribution of which each encoding is the mean; added to the covariance.
        """
        mean = encodings.mean(0)
        if len(encodings) > 1:
            from sklearn.covariance import ledoit_wolf  # .6 s: imported only if used

            covariance, _ = ledoit_wolf(encodings)
        else:
            covariance = np.zeros((len(mean), len(mean)))
        if within is not None:
            covariance = covariance + np.diag(within)
        # Sigma = A A^T with A = V sqrt(Lambda); clipping removes rounding below 0.
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(values.clip(0))
        self.means[label] = torch.from_numpy(mean)
        self.factors[label] = torch.from_numpy(factor)

    def draw(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw z_c ~ N(mu_c, Sigma_c) for labels (N,); float32 (N,Z)."""
        noise = torch.randn(len(labels), self.means.shape[1], generator=rng)
        out = self.means[labels]
        for label in labels.unique():
            selected = labels == label
            out[selected] += noise[selected] @ self.factors[label].T
        return out
