"""In place of the processes that time nets and try transforms: costs and a choice that do not depend on the machine."""

from __future__ import annotations

from typing import Any

import pytest

from augpipe.pipeline import choose_transform, planning
from augpipe.pipeline.costs import Costs, GeneratorCosts, Request, name_of
from augpipe.pipeline.suggestion import Transform

TIMED = list[int]()  # sizes
TRIED = list[bool]()  # whether policies were tried too
CHOSEN = Transform("elastic+fliplr", "shown to stay above 0.750 with left-right mirrors 0.812")


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time no net and try no transform."""

    def choose(experiment: Any, *, policies: bool) -> Transform:
        TRIED.append(policies)
        return CHOSEN

    monkeypatch.setattr(planning, "Timers", Slow)
    monkeypatch.setattr(choose_transform, "choose_transform", choose)


class Slow:
    """0.1 s of a step and 0.01 s of an image, at 64 px."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None: ...

    def costs(self, wanted: Request) -> Costs:
        TIMED.append(wanted.size)
        area = (wanted.size / 64) ** 2
        each = GeneratorCosts(shown=0.01 * area, settle=0.5 * area, drawn=0.001, bytes=10**7)
        return Costs(
            python=0.012,
            step=0.1 * area,
            batch={"": 0.001, **{name_of(one): 0.02 for one in wanted.transforms if one}},
            predicted=0.001 * area,
            generators=dict.fromkeys(wanted.generators, each),
            memory=10**9,
        )
