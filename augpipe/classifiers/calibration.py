"""Calibrated probabilities by temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural Networks")."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

BOUNDS: Final = (0.05, 20.0)  # of a temperature
LEAST: Final = 1e-12  # smallest probability, so that a logarithm is finite


def temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T of softmax(z / T) with the least mean negative log-likelihood on held-out images.

    probabilities: (N,K) softmax of the logits z, which are known from them up to a constant. labels: (N,).
    """

    def loss(log_t: float) -> float:
        scaled = calibrated(probabilities, float(np.exp(log_t)))
        return -float(np.log(np.maximum(scaled[np.arange(len(labels)), labels], LEAST)).mean())

    optimum = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded")
    return float(np.exp(optimum.x))


def calibrated(probabilities: NDArray[np.float32], t: float) -> NDArray[np.float32]:
    """softmax(z / t) of probabilities (N,K) = softmax(z); the order of the classes stays."""
    scaled = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / t
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    result: NDArray[np.float32] = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    return result
