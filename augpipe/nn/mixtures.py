"""A mixture of discretised logistic distributions for pixels (Salimans et al. 2017, sections 2.1 and 2.2).

The parameters of a pixel with C channels, for each of K components: a logit, C means, C logarithms of scales, and
C (C - 1) / 2 coefficients with which the mean of a channel depends on the channels before it.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

SMALLEST = -7.0  # logarithm of a scale


def parameters(channels: int, components: int) -> int:
    """Number of parameters of a pixel."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


def to_values(pixels: torch.Tensor, levels: int = 256) -> torch.Tensor:
    """Levels 0..levels-1 → [-1,1], float32."""
    return pixels.float() * (2 / (levels - 1)) - 1


def _split(raw: torch.Tensor, channels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N,P,...) → logits (N,K,...), means and log scales (N,K,C,...), coefficients (N,K,C(C-1)/2,...)."""
    each = parameters(channels, 1)
    raw = raw.float().unflatten(1, (-1, each))
    logits, means, scales, coefficients = raw.split([1, channels, channels, each - 1 - 2 * channels], 2)
    return logits.squeeze(2), means, scales.clamp(min=SMALLEST), torch.tanh(coefficients)


def log_likelihood(raw: torch.Tensor, pixels: torch.Tensor, levels: int = 256) -> torch.Tensor:
    """Parameters (N,P,H,W), pixels (N,C,H,W) in 0..levels-1 → log-likelihood of each pixel in nats, (N,H,W)."""
    channels = pixels.shape[1]
    logits, means, scales, coefficients = _split(raw, channels)
    x = to_values(pixels, levels)[:, None]
    by_channel, used = [], 0
    for c in range(channels):
        weights = coefficients[:, :, used : used + c]
        used += c
        mean = means[:, :, c] + (weights * x[:, :, :c]).sum(2)
        by_channel.append(_interval(x[:, :, c], mean, scales[:, :, c], levels))
    return torch.logsumexp(F.log_softmax(logits, 1) + torch.stack(by_channel).sum(0), 1)


def _interval(x: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor, levels: int) -> torch.Tensor:
    """Logarithm of the logistic probability of the interval around x; those of the ends reach to infinity."""
    half = 1 / (levels - 1)
    upper, lower = ((x - mean + side) * (-log_scale).exp() for side in (half, -half))
    # s(a) - s(b) = s(a) s(-b) (1 - e^(b-a)) for the sigmoid s, in logarithms: no difference of nearly equal numbers.
    within = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
    out = torch.where(x < half - 1, F.logsigmoid(upper), within)
    return torch.where(x > 1 - half, F.logsigmoid(-lower), out)


def draw(raw: torch.Tensor, uniform: torch.Tensor, levels: int = 256) -> torch.Tensor:
    """Parameters (N,P) of a pixel, U(0,1) (N,1+C) → values (N,C) in [-1,1], rounded to levels."""
    channels = uniform.shape[1] - 1
    logits, means, scales, coefficients = _split(raw, channels)
    rows, ends = torch.arange(len(raw), device=raw.device), torch.softmax(logits, 1).cumsum(1)[:, :-1]
    which = (uniform[:, :1] > ends).sum(1)
    means, scales, coefficients = means[rows, which], scales[rows, which], coefficients[rows, which]
    noise = torch.logit(uniform[:, 1:].clamp(1e-6, 1 - 1e-6))
    values, used = list[torch.Tensor](), 0
    for c in range(channels):
        mean = means[:, c]
        for before in range(c):
            mean = mean + coefficients[:, used + before] * values[before]
        used += c
        level = ((mean + scales[:, c].exp() * noise[:, c]).clamp(-1, 1) + 1) * ((levels - 1) / 2)
        values.append(to_values(level.round(), levels))
    return torch.stack(values, 1)
