"""The interval of a proportion."""

from __future__ import annotations

import math
from typing import Final

Z: Final = 1.959963984540054  # the standard normal's .975 quantile


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Score interval of a proportion, at 95% by default (Wilson 1927); ValueError unless 0 <= successes <= n > 0."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no proportion")
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
