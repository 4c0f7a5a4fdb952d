"""The plan of a run as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from augpipe.core.errors import several
from augpipe.pipeline.budget import duration
from augpipe.pipeline.planning import Plan


def plan_lines(plan: Plan) -> Iterator[str]:
    """What was read of the source, what was chosen and why, and what it is expected to take."""
    for line in plan.data:
        yield f"data: {line}"
    for choice in plan.choices:
        yield f"chose {choice.key} {choice.value} ({choice.why})"
    expected = plan.estimate
    each = f"{several(expected.processes, 'process')}, {several(expected.threads, 'thread')} each"
    yield f"plan: expected time of each stage, its tasks together ({each}):"
    for row in expected.rows:
        yield f"  {row.stage:<42} {several(row.tasks, 'task'):>10} {duration(row.seconds):>10}"
    yield (
        f"plan: about {duration(expected.seconds)} in all{_of_budget(plan)}; at most about "
        f"{expected.memory / 1e9:.1f} GB of memory and {expected.disk / 1e9:.2g} GB of disk"
    )
    if plan.reused:
        yield "plan: as for the last equal command, so that its results are reused"


def _of_budget(plan: Plan) -> str:
    if plan.budget is None:
        return ""
    if not plan.within:
        return (
            f", more than the {plan.budget.text} that a run on images has by default: the least that makes sense "
            "(--budget gives it more)"
        )
    return f" of {plan.budget.text}" + ("" if plan.budget.explicit else " (--budget changes it)")
