"""The plan of a run: fitted to the budget for images, as it stands for a config; printed before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augpipe.core.errors import UserError
from augpipe.pipeline.budget import QUICK, Budget, parse

from .load_config import is_images, load_checked, suggest_checked
from .output import print_line, report

if TYPE_CHECKING:
    from augpipe.pipeline.planning import Plan


def budget_of(config: Path, budget: str | None, quick: bool) -> Budget | None:
    """The budget of the command's arguments; UserError for one that it cannot have."""
    if budget is not None and quick:
        raise UserError(f"--budget and --quick are mutually exclusive (--quick is --budget {QUICK})")
    text = QUICK if quick else budget
    if text is None:
        return None
    parsed = parse(text)
    if not is_images(config):
        option = "--quick" if quick else "--budget"
        raise UserError(
            f"{option} applies to images only; the config {config} has its own settings: change them there, and see "
            "the expected time with --dry-run"
        )
    return parsed


def load_planned(
    config: Path,
    overrides: tuple[str, ...],
    check: Callable[[Any], None],
    budget: Budget | None = None,
    *,
    dry_run: bool = False,
    fresh: bool = False,
) -> Any:
    """The experiment of a run, checked against its data, after its plan was printed; a config's only in a dry run.

    Arguments as in `load_checked`. In a dry run the plan goes to standard output. fresh: nets are timed anew.
    """
    if not is_images(config):
        experiment = load_checked(config, overrides, check)
        if dry_run:
            from augpipe.pipeline.planning import for_config

            _print(for_config(experiment), dry_run)
        return experiment
    suggestion = suggest_checked(config, overrides, check)
    from augpipe.pipeline.planning import for_images

    plan = for_images(suggestion, budget, fresh=fresh)
    _print(plan, dry_run)
    return plan.experiment


def _print(plan: Plan, dry_run: bool) -> None:
    from augpipe.report.plan_text import plan_lines

    for line in plan_lines(plan):
        (print_line if dry_run else report)(line)
