"""Costs of steps that are timed on this machine."""

from __future__ import annotations

import pytest

from augpipe.pipeline.timing import _steps


def test_a_lazy_penalty_counts_for_one_step_of_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("augpipe.pipeline.timing._clock", lambda runtime: clock[0])
    steps = iter(range(99))

    def step() -> None:
        clock[0] += 2.6 if next(steps) % 16 == 0 else 1.0

    assert _steps(step, None, 2.0) == pytest.approx(1.1)  # type: ignore[arg-type]
    clock[0] = 0.0
    steps = iter(range(99))
    assert _steps(step, None, 99.0) == pytest.approx(1.1)  # type: ignore[arg-type]
