"""Reference implementations written from their definitions, slowly."""

from __future__ import annotations


def holm_by_definition(p_values: list[float]) -> list[float]:
    """Adjusted p of hypothesis i: the largest (m - rank + 1) p over all with a p at most its own."""
    m = len(p_values)
    ordered = sorted(range(m), key=lambda i: p_values[i])
    adjusted = [0.0] * m
    for position, i in enumerate(ordered):
        adjusted[i] = max(min(1.0, (m - r) * p_values[ordered[r]]) for r in range(position + 1))
    return adjusted
