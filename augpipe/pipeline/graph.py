"""The comparison as one graph of calls: written once, run in this process or by an orchestrator.

`call(stage, *inputs, title=..., total=...)` returns the stage's result, or a future of it that may be passed on as an
input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from augpipe.core.notebook import Progress, Silent
from augpipe.pipeline import cache
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.classifier_calls import call_classifiers
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Synthetic, TrainedGenerator, TrainingSpec
from augpipe.pipeline.runs import ArmRun, BySeed, GeneratorRun, ReferenceRun, Runs
from augpipe.pipeline.stages.cells import cell_images
from augpipe.pipeline.stages.measure import measure
from augpipe.pipeline.stages.mix import choose, mix, search_steps
from augpipe.pipeline.stages.prepare import images_to_make
from augpipe.pipeline.stages.score import score, score_with_shift
from augpipe.pipeline.stages.synthesize import pool, split_plan, synthesize
from augpipe.pipeline.stages.train_classifier import train_classifier, train_reference
from augpipe.pipeline.stages.train_generator import join_generators, specs, starts_pretrained, train_generator

SILENT = Silent()

# Arm and seed → seeds of further classifiers that are trained on the same recipe, and so on images of the same
# generator.
More = Mapping[tuple[str, int], Sequence[int]]


class Call(Protocol):
    """Runs a stage. title: shown to users. total: final value of the stage's progress, if it reports any."""

    def __call__(self, stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        """The stage's result, or a future of it."""


def local(context: Context, progress: Progress = SILENT) -> Call:
    """Run each stage immediately in this process, through the cache. progress: follows the stages."""

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        progress.begin(title, total)
        value = cache.run(stage, context, *inputs, report=progress.report).value
        progress.end()
        return value

    return call


def count_calls(experiment: Experiment, prepared: BySeed) -> int:
    """Number of calls of `call_stages`."""
    titles = list[str]()

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        titles.append(title)
        return title  # in place of a result, which is only passed on

    call_stages(experiment, prepared, call)
    return len(titles)


# The stage whose result a field of a run holds.
STAGES: Mapping[str, cache.Stage] = {
    "reference": train_reference,
    "pooled": train_generator,
    "classes": train_generator,
    "trained": train_generator,
    "measured": measure,
    "by_generator": synthesize,
    "synthetic": synthesize,
    "chosen": choose,
    "recipe": mix,
    "base_recipe": mix,
    "base": train_classifier,
    "classifier": train_classifier,
    "scored": score,
}


def call_stages(experiment: Experiment, prepared: BySeed, call: Call) -> Runs:
    """Train every generator and classifier of an experiment, and score the classifiers.

    Generators take longest, so they are called first, the largest budget before the others; arms without a generator
    keep the cores busy while the last generators train.
    """
    runs = train_and_score(experiment, prepared, call)
    for name in _used(experiment):
        for seed in experiment.seeds:
            run = runs.generators[name, seed]
            run.measured = call(
                measure,
                run.prepared,
                runs.references[seed].reference,
                run.trained,
                experiment.fidelity,
                experiment.classifier,
                title=f"measure {name}, seed {seed}",
            )
    return runs


def _used(experiment: Experiment) -> list[str]:
    """Names of the generators of the arms, the largest budget first."""
    used = {name for arm in experiment.arms for name in arm.generators}
    return sorted(used, key=lambda name: (-experiment.generators[name].kimg, name))


def train_and_score(
    experiment: Experiment, prepared: BySeed, call: Call, more: More = MappingProxyType({}), known: Runs | None = None
) -> Runs:
    """`call_stages` without the fidelity of the generators; more: see `More`. known: finished runs, of which no call is
    repeated; the result has the others alone."""
    runs, seeds, names = Runs(prepared), experiment.seeds, _used(experiment)
    if known is not None:
        runs = Runs(prepared, dict(known.references), dict(known.generators), dict(known.arms))
    for seed in seeds if names else ():
        if seed not in runs.references:
            call_reference(runs, experiment, seed, call)
    for name in names:
        for seed in seeds:
            if (name, seed) not in runs.generators:
                call_generator(runs, experiment, TrainingSpec(name=name, seed=seed), call)
    plain = [arm for arm in experiment.arms if not arm.generator]
    _call_arms(runs, experiment, plain, call, more)
    _call_arms(runs, experiment, [arm for arm in experiment.arms if arm.generator], call, more)
    return runs if known is None else runs.without(known)


def call_reference(runs: Runs, experiment: Experiment, seed: int, call: Call) -> ReferenceRun:
    """Train the reference classifier of a seed."""
    reference = call(
        train_reference,
        runs.prepared[seed],
        experiment.classifier,
        seed,
        title=f"reference classifier, seed {seed}",
        total=experiment.classifier.steps,
    )
    runs.references[seed] = ReferenceRun(seed, reference)
    return runs.references[seed]


def call_generator(runs: Runs, experiment: Experiment, spec: TrainingSpec, call: Call) -> GeneratorRun:
    """Train a generator: one joint model, or one model per class in separate calls, which are then joined."""
    prepared = runs.prepared[spec.seed].by(experiment.conditions.get(spec.name, ()))
    options = experiment.generators[spec.name].of_checkpoint()
    reference = runs.references[spec.seed].reference
    more = {"devices": experiment.runner.devices, "images": prepared.external.get(spec.name)}
    first, rest = specs(prepared, options, spec.model_copy(update=more))

    def train(model: TrainingSpec, start: TrainedGenerator | None = None) -> TrainedGenerator:
        total = options.start_kimg if model.other else options.pretrain if model.pooled else options.kimg
        trained: TrainedGenerator = call(
            train_generator,
            prepared,
            reference,
            model,
            start,
            options,
            experiment.classifier,
            title=f"{spec.name}, {model.scope}seed {spec.seed}",
            total=total,
        )
        return trained

    if not options.per_class:
        first = rest[0].model_copy(update={"other": True, "images": prepared.starts.get(spec.name)})
        other = train(first) if options.start else None
        run = GeneratorRun(spec.name, spec.seed, prepared, train(rest[0], other), other)
    else:
        pooled = train(first) if first is not None else None
        classes = [train(model, pooled if starts_pretrained(prepared, options, model) else None) for model in rest]
        joined = call(join_generators, prepared, options, classes, pooled, title=f"join {spec.name}, seed {spec.seed}")
        run = GeneratorRun(spec.name, spec.seed, prepared, joined, pooled, classes)
    runs.generators[spec.name, spec.seed] = run
    return run


def _call_arms(runs: Runs, experiment: Experiment, arms: Sequence[Arm], call: Call, more: More) -> None:
    """Fill, mix, train and score each arm and seed, stage by stage; more: see `More`."""
    shared: dict[tuple[str, str, bool, int], Synthetic] = {}
    keys = [(arm, seed) for seed in experiment.seeds for arm in arms]
    new = [(arm, seed) for arm, seed in keys if (arm.name, seed) not in runs.arms]
    for arm, seed in new:
        run = ArmRun(arm, seed, runs.prepared[seed])
        runs.arms[arm.name, seed] = run
        if arm.generator:
            run.by_generator, run.synthetic = call_synthetic(runs, experiment, arm, seed, call, shared)
    for arm, seed in new:
        _call_recipe(runs, experiment, runs.arms[arm.name, seed], call)
    every = [one for key in keys for one in _with_more(runs, *key, more)]
    trained = [run for run in every if run.scored is None]
    call_classifiers(experiment, every, call)
    for run in trained:
        title, shift = f"score {_title(run)}", run.prepared.shift
        if shift is None:
            run.scored = call(score, run.prepared, run.classifier, run.recipe, title=title)
        else:
            run.scored = call(score_with_shift, run.prepared, run.classifier, run.recipe, shift, title=title)


def _title(run: ArmRun) -> str:
    return f"{run.arm.name}, seed {run.seed}"


def _with_more(runs: Runs, arm: Arm, seed: int, more: More) -> Iterator[ArmRun]:
    """The run of an arm and seed, and those of further classifiers on its recipe."""
    first = runs.arms[arm.name, seed]
    yield first
    for other in more.get((arm.name, seed), ()):
        runs.arms[arm.name, other] = replace(
            first, seed=other, base_recipe=None, base=None, classifier=None, scored=None
        )
        yield runs.arms[arm.name, other]


def call_synthetic(
    runs: Runs,
    experiment: Experiment,
    arm: Arm,
    seed: int,
    call: Call,
    shared: dict[tuple[str, str, bool, int], Synthetic],
) -> tuple[Sequence[Synthetic], Synthetic]:
    """An arm's images of each of several generators, and all of them; arms with the same generator, plan and checks
    share them through `shared`.
    """
    prepared = runs.prepared[seed]
    if arm.mix.attributes:
        plan = cell_images(arm, prepared.cells_by(arm.mix.attributes), prepared.classes)
    else:
        plan = images_to_make(arm, prepared.counts["train"], prepared.classes)
    parts = []
    for name, counts in zip(arm.generators, split_plan(plan, len(arm.generators)), strict=True):
        curated = experiment.curates(arm, name)
        key = (name, repr(counts), curated, seed)
        if key not in shared:
            shared[key] = call(
                synthesize,
                prepared,
                runs.references[seed].reference,
                runs.generators[name, seed].trained,
                counts,
                experiment.curation if curated else None,
                experiment.fidelity.features,
                title=f"synthesize {name}, seed {seed}",
            )
        parts.append(shared[key])
    if len(parts) == 1:
        return (), parts[0]
    pooled: Synthetic = call(pool, parts, title="pool the images of several generators")
    return parts, pooled


def _call_recipe(runs: Runs, experiment: Experiment, run: ArmRun, call: Call) -> None:
    """Search the open options of the mix on val, if any, and create the recipe."""
    mixed, reference = run.arm.mix, None
    if run.synthetic is not None:
        reference = runs.references[run.seed].reference
        if mixed.searches:
            run.chosen = call(
                choose,
                run.prepared,
                mixed,
                run.synthetic,
                reference,
                experiment.classifier,
                run.seed,
                title=f"search the mix of {run.arm.name}, seed {run.seed}",
                total=search_steps(mixed, experiment.classifier.steps),
            )
    run.recipe = call(
        mix,
        run.prepared,
        mixed,
        run.synthetic,
        run.chosen,
        reference if mixed.soft else None,
        title=f"mix {run.arm.name}, seed {run.seed}",
    )
