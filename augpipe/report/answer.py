"""The answer of a run in plain sentences: the verdict, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from augpipe.comparison.bootstrap import LEAST_IMAGES
from augpipe.comparison.decision import Confirmation
from augpipe.comparison.explore import Comparison
from augpipe.comparison.options import LABELS
from augpipe.core.errors import several
from augpipe.generators.options import CLOSED_SET
from augpipe.pipeline.budget import duration
from augpipe.pipeline.confirm import Confirmed, NotConfirmed
from augpipe.pipeline.experiment import RESPLIT, Experiment
from augpipe.pipeline.runs import training_seconds
from augpipe.report.secondary import Secondary

FIRST_LOOK: Final = "A first look, not confirmed"
RIVAL: Final = "the best method without them"


def verdict(comparison: Comparison, confirmed: Confirmed | NotConfirmed, failed: Mapping[str, str]) -> str:
    """Whether synthetic images help, in a sentence or two; failed: arm → reason, of the explore stage."""
    if isinstance(confirmed, NotConfirmed):
        why = f" ({confirmed.reason})" if confirmed.failed or confirmed.reason == RESPLIT else ""
        return f"{FIRST_LOOK}{why}. {comparison.sentence}"
    sentence = confirmed_sentence(confirmed)
    if failed:
        names = ", ".join(repr(name) for name in failed)
        sentence += f" Failed and not compared: {names}."
    return sentence


def unequal_knowledge(experiment: Experiment, comparison: Comparison) -> tuple[str, ...]:
    """A sentence if the arm with synthetic images and its rival learn from different things."""
    known = experiment.knowledge()
    if comparison.best is None or comparison.strongest is None:
        return ()
    with_images, without = known[comparison.best], known[comparison.strongest]
    if with_images == without:
        return ()
    return (
        f"The two do not know the same: {comparison.best!r} learns from {with_images} as well as from train, "
        f"{comparison.strongest!r} from {'train alone' if without == CLOSED_SET else without}; a difference may come "
        "from what the generator of these images had seen.",
    )


def confirmed_sentence(confirmed: Confirmed) -> str:
    """The result of a confirm stage in one sentence."""
    result = confirmed.outcome
    who = f"Synthetic images from {generators_of(confirmed)}"
    what = "training" if confirmed.pooled else "fresh training"
    trainings, metric = several(result.generators, what), LABELS[result.metric]
    size = f"{abs(result.difference):.1f} points"
    if result.decision == "better":
        return f"{who} raised {metric} by {size} ({_range(result)}) over {RIVAL}, confirmed on {trainings}."
    if result.decision == "worse":
        return f"{who} lowered {metric} by {size} ({_range(result, -1)}) against {RIVAL}, confirmed on {trainings}."
    if result.decision == "equivalent":
        inner = f"90% interval {result.inner[0]:+.1f} to {result.inner[1]:+.1f}"
        return (
            f"{who} made no difference larger than {result.margin:g} points compared with {RIVAL} ({inner}), confirmed "
            f"on {trainings}."
        )
    both = f"{result.low:+.1f} to {result.high:+.1f}"
    changed = f"{result.difference:+.1f} points ({both}) over {RIVAL} on {trainings}"
    return f"Not decided: {who[0].lower()}{who[1:]} changed {metric} by {changed}; {would_decide(confirmed)}."


def generators_of(confirmed: Confirmed) -> str:
    """Names of the generators of the arm that was confirmed."""
    arms = {arm.name: arm for arm in confirmed.experiment.arms}
    return arms[str(confirmed.finalists.contender)].made_by


def would_decide(confirmed: Confirmed) -> str:
    """How many more trainings would decide, and how long they take; or what else is missing."""
    result = confirmed.outcome
    if result.reason == "too few test images":
        return f"at least {LEAST_IMAGES} test images of every class, of as many groups, are needed"
    if result.replicates_needed is None:
        return "more trainings alone would not decide, more test images may"
    n = max(1, result.replicates_needed - result.generators)
    trained = [g for g in confirmed.classifiers if g not in confirmed.pooled]
    # Of a stage that reused results, its own seconds are too few.
    measured = training_seconds(confirmed.runs, {s for g in trained for s in confirmed.classifiers[g]})
    seconds = max(confirmed.seconds, measured)
    about = f", about {duration(n * seconds / len(trained))}," if trained else ""
    return f"{several(n, 'more training')}{about} would decide in 4 of 5 cases"


def _range(result: Confirmation, sign: int = 1) -> str:
    """`0.6 to 3.0`, the 95% interval; sign -1: of the loss."""
    low, high = sorted((sign * result.low, sign * result.high))
    return f"{low:.1f} to {high:.1f}"


# Situation → advice. Every outcome has a row; {needed}: replicates that would decide, in total.
ADVICE: Final = {
    "better": "Use the arm with synthetic images: `augpipe balance` publishes its balanced set, `models/` has its "
    "classifier.",
    "worse": "Leave the synthetic images out; train by the best method without them.",
    "equivalent": "Leave the synthetic images out: they cost time and change nothing that matters. Train by the best "
    "method without them.",
    "more replicates": "Train more: run the same command with `--set confirm.generators={needed}`, and with a longer "
    "`--budget` if it has one. Finished trainings are reused.",
    "more time": "Train more: run the same command with a longer `--budget`. Finished trainings are reused.",
    "more test images": "Collect more test images of the rare classes; more training does not help.",
    "first look": "Run again with the confirm stage (without `--explore-only`, `--quick` or `confirm: off`) before you "
    "rely on it.",
    "resplit": "Set `resplit: false` for a verdict that fresh seeds confirm; with `resplit`, more seeds narrow the "
    "intervals.",
    "no generator": "Add an arm with a trained generator, such as cgan, if synthetic images are the question.",
    "failed": "Mend the failure and run the same command again; finished trainings are reused.",
}


def situation(confirmed: Confirmed | NotConfirmed, generative: bool) -> str:
    """The row of ADVICE; generative: whether any arm was trained with images of a trained generator."""
    if isinstance(confirmed, NotConfirmed):
        if confirmed.failed:
            return "failed"
        if not generative:
            return "no generator"
        return "resplit" if confirmed.reason == RESPLIT else "first look"
    result = confirmed.outcome
    if result.decision != "undecided":
        return result.decision
    if result.reason == "too few test images" or (result.replicates_needed is None and not result.reason):
        return "more test images"
    return "more replicates" if _more_are_allowed(confirmed) else "more time"


def _more_are_allowed(confirmed: Confirmed) -> bool:
    """Whether a larger `confirm.generators` trains as many as would decide: not if time is what limits them."""
    options, needed = confirmed.experiment.confirm, confirmed.outcome.replicates_needed or 0
    return options != "off" and options.classifiers != "auto" and options.generators < needed


def advice(confirmed: Confirmed | NotConfirmed, generative: bool) -> str:
    """What to do next, in a line; arguments as in `situation`."""
    text = ADVICE[situation(confirmed, generative)]
    if isinstance(confirmed, NotConfirmed):
        return text
    return text.replace("{needed}", str(confirmed.outcome.replicates_needed))


def summary_of(
    confirmed: Confirmed | NotConfirmed, comparison: Comparison, secondary: Sequence[Secondary] = ()
) -> dict[str, Any]:
    """The keys of `summary.json` on the two stages."""
    finalists = {
        "with_generator": comparison.best,
        "without_generator": comparison.strongest,
        "chosen_by": f"val {comparison.metric}",
    }
    if isinstance(confirmed, NotConfirmed):
        confirm = {"reason": confirmed.reason, "failed": dict(confirmed.failed)}
        return {"stage": "explore", "finalists": finalists, "confirm": confirm}
    return {"stage": "confirm", "finalists": finalists, "confirm": _confirm(confirmed, secondary)}


def _confirm(confirmed: Confirmed, secondary: Sequence[Secondary]) -> dict[str, Any]:
    result = confirmed.outcome
    return {
        "decision": result.decision,
        "reason": result.reason,
        "metric": result.metric,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "p": result.p,
        "standard_error": result.error,
        "df": result.df,
        "margin": result.margin,
        "generators": result.generators,
        "classifiers": result.classifiers,
        "design": confirmed.design,
        "seeds": {str(g): list(seeds) for g, seeds in confirmed.classifiers.items()},
        "variances": asdict(result.variances),
        "looks": [_look(one) for one in confirmed.outcomes],
        "planned_looks": list(confirmed.planned),
        "replicates_needed": result.replicates_needed,
        "differences": [list(row) for row in result.values],
        "pooled_seeds": list(confirmed.pooled),
        "mean": confirmed.levels(),
        "secondary": [one.summary() for one in secondary],
        "seconds": round(confirmed.seconds, 2),
    }


def _look(result: Confirmation) -> dict[str, Any]:
    return {
        "replicates": result.generators,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
        "p": result.p,
        "boundary": result.look.boundary,
        "level": result.look.level,
        "spent": result.look.spent,
        "decision": result.decision,
    }
