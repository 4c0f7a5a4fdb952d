"""The calls that train the classifiers of arms, each base of a head once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.runs import ArmRun
from augpipe.pipeline.stages.mix import mix
from augpipe.pipeline.stages.train_classifier import train_classifier
from augpipe.pipeline.stages.train_head import train_head


def call_classifiers(experiment: Experiment, runs: Sequence[ArmRun], call: Callable[..., Any]) -> None:
    """Train the classifier of each run that has none; call: see `graph.Call`.

    An arm with a head has the classifier of the arm that is the same but for the head. Without such an arm one is
    trained, and several heads share it.
    """
    bases = dict[tuple[str, int, int], Any]()
    for run in runs:
        if run.arm.mix.head is None:
            if run.classifier is None:
                run.classifier = _trained(experiment, run, run.recipe, call)
            if not run.arm.generators:
                bases.setdefault(_base_key(run), run.classifier)
    for run in runs:
        if run.arm.mix.head is None or run.classifier is not None:
            continue
        key = _base_key(run)
        if key not in bases:
            title = f"mix the base of {run.arm.name}, seed {run.seed}"
            headless = run.arm.mix.model_copy(update={"head": None})
            run.base_recipe = call(mix, run.prepared, headless, None, None, None, title=title)
            bases[key] = _trained(experiment, run, run.base_recipe, call, "the base of ")
        run.base = bases[key]
        run.classifier = call(
            train_head,
            run.prepared,
            run.recipe,
            run.base,
            experiment.classifier,
            run.arm.name,
            run.seed,
            title=f"head {run.arm.name}, seed {run.seed}",
        )


def _base_key(run: ArmRun) -> tuple[str, int, int]:
    """Equal for runs whose classifiers are the same but for their heads."""
    headless = run.arm.mix.model_copy(update={"head": None})
    return headless.model_dump_json(), id(run.prepared), run.seed


def _trained(experiment: Experiment, run: ArmRun, recipe: Any, call: Callable[..., Any], what: str = "") -> Any:
    return call(
        train_classifier,
        run.prepared,
        recipe,
        experiment.classifier,
        run.arm.name,
        run.seed,
        title=f"classifier {what}{run.arm.name}, seed {run.seed}",
        total=experiment.classifier.steps,
    )
