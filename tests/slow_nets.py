"""In place of the processes that time nets: costs that do not depend on the machine."""

from __future__ import annotations

from augpipe.pipeline.costs import Costs, GeneratorCosts, Request

TIMED = list[int]()  # sizes


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
            batch={"": 0.001, **{str(name): 0.02 for name in wanted.transforms if name}},
            predicted=0.001 * area,
            generators=dict.fromkeys(wanted.generators, each),
            memory=10**9,
        )
