"""The balanced set of one arm: trained, filled, checked, measured, and published where its gates hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect import flow

from augpipe.core.errors import UserError, unknown
from augpipe.core.store import load_table
from augpipe.data.sources import place
from augpipe.pipeline.compare import ArmRun, Runs, call_generator, call_reference, call_synthetic
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Arm, Experiment
from augpipe.pipeline.records import Prepared, TrainingSpec
from augpipe.pipeline.stages.measure import measure_synthetic
from augpipe.report.balanced_set import Balanced, check_out, publish
from augpipe.synthetic import gates

from .compare import prepared_by_seed, resolved
from .engine import stop_workers
from .following import follow
from .starting import started
from .tasks import Submit
from .tracking import Tracker


def run(
    experiment: Experiment, arm: str, seed: int | None, out: Path, override: str | None
) -> Balanced:
    """Make an arm's balanced set and publish it to `out` where every gate holds, or `override` says why not.

    UserError for the user's mistakes. What comes back tells whether the gates held; `out` is untouched where they
    did not.
    """
    own = _arm(experiment, arm)
    if override is not None and not override.strip():
        raise UserError("--override takes the reason, which is recorded; got an empty one")
    which = experiment.seeds[0] if seed is None else seed
    if which < 0:
        raise UserError(f"a seed is 0 or more; got {which}")
    check_out(out, place(experiment.source))
    with started(experiment) as ready:
        flow_run = ready.named(balance, f"balance {arm}, seed {which}")
        return flow_run(experiment, ready.context, own, which, out.resolve(), override)


def _arm(experiment: Experiment, name: str) -> Arm:
    """The arm of that name; UserError where there is none, or it makes no images."""
    arms = {arm.name: arm for arm in experiment.arms if arm.generator}
    if name not in arms:
        raise unknown("arm with a generator", name, arms)
    if arms[name].mix.fill == "search":
        raise UserError(
            f"arm {name!r} leaves its fill to a search by val, which a comparison does; "
            f"--set arms.{name}.mix.fill=N says how many images to publish"
        )
    if len(arms[name].generators) > 1:
        raise UserError(
            f"arm {name!r} pools {arms[name].made_by}; a set is published of one: --set arms.{name}.generator=NAME"
        )
    return arms[name]


@flow(name="balance", validate_parameters=False)
def balance(
    experiment: Experiment, context: Context, arm: Arm, seed: int, out: Path, override: str | None
) -> Balanced:
    """Prepare, train the generator, fill, check, measure, test the gates, publish.

    A run's generator and images are reused: what is published is what its report is about.
    """
    prepared = prepared_by_seed(experiment, context, (seed,))
    tracker = Tracker(experiment)
    with tracker.comparison(prepared[seed], "balance", f"balanced set of {arm.name}, seed {seed}"):
        try:
            runs = _call(
                experiment, prepared, arm, seed, Submit(context, experiment.runner.timeout)
            )
            follow(runs, tracker, context.progress).raise_first()
        except BaseException:
            stop_workers()
            raise
        runs = resolved(runs)
        balanced = _balanced(experiment, runs, arm, seed, override)
        place = out if balanced.holds or override is not None else None
        if place is not None:
            publish(balanced, place)
        tracker.balanced(balanced, place)
        tracker.cost()
    return balanced


def _call(
    experiment: Experiment, prepared: Mapping[int, Prepared], arm: Arm, seed: int, submit: Submit
) -> Runs:
    """The part of the comparison that makes an arm's images, and their fidelity."""
    runs = Runs(prepared)
    reference = call_reference(runs, experiment, seed, submit).reference
    generator = call_generator(
        runs, experiment, TrainingSpec(name=str(arm.generator), seed=seed), submit
    )
    synthetic = call_synthetic(runs, experiment, arm, seed, submit, {})
    runs.arms[arm.name, seed] = ArmRun(arm, seed, prepared[seed], synthetic)
    generator.measured = submit(
        measure_synthetic, prepared[seed], reference, synthetic, experiment.fidelity,
        experiment.classifier, seed, title=f"measure the synthetic images, seed {seed}",
    )  # fmt: skip
    return runs


def _balanced(
    experiment: Experiment, runs: Runs, arm: Arm, seed: int, override: str | None
) -> Balanced:
    generator, synthetic = runs.generators[str(arm.generator), seed], runs.arms[arm.name, seed]
    if generator.measured is None or synthetic.synthetic is None:
        raise RuntimeError("a run ended without an error and without its results")
    table = load_table(generator.measured.table)
    outcomes = tuple(gates.outcome(gate, table) for gate in experiment.gate)
    broken = not all(one.holds for one in outcomes)
    return Balanced(
        experiment, arm, runs.prepared[seed], generator.trained, synthetic.synthetic,
        generator.measured, outcomes, override if broken else None,
    )  # fmt: skip
