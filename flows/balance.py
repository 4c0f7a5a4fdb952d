"""Build the balanced set of one arm, and publish it if its gates hold."""

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
    """Build an arm's balanced set and publish it to `out` if every gate holds, or if `override` gives a reason.

    Raises UserError for invalid arguments. The result says whether the gates held; `out` is untouched if nothing is
    published.
    """
    options = _arm(experiment, arm)
    if override is not None and not override.strip():
        raise UserError("--override needs a reason, which is recorded; got an empty one")
    chosen_seed = experiment.seeds[0] if seed is None else seed
    if chosen_seed < 0:
        raise UserError(f"a seed must be 0 or more; got {chosen_seed}")
    check_out(out, place(experiment.source))
    with started(experiment) as ready:
        flow_run = ready.named(balance, f"balance {arm}, seed {chosen_seed}")
        return flow_run(experiment, ready.context, options, chosen_seed, out.resolve(), override)


def _arm(experiment: Experiment, name: str) -> Arm:
    """The arm with that name; UserError if no such arm has exactly one generator and a fixed fill."""
    arms = {arm.name: arm for arm in experiment.arms if arm.generator}
    if name not in arms:
        raise unknown("arm with a generator", name, arms)
    if arms[name].mix.fill == "search":
        raise UserError(
            f"arm {name!r} searches its fill on val, which only a comparison does; "
            f"set the number of images to publish with --set arms.{name}.mix.fill=N"
        )
    if len(arms[name].generators) > 1:
        raise UserError(
            f"arm {name!r} pools {arms[name].made_by}; a balanced set needs one generator: "
            f"--set arms.{name}.generator=NAME"
        )
    return arms[name]


@flow(name="balance", validate_parameters=False)
def balance(
    experiment: Experiment, context: Context, arm: Arm, seed: int, out: Path, override: str | None
) -> Balanced:
    """Prepare, train the generator, draw and check images, measure them, test the gates, publish.

    The generator and images of an earlier `run` are reused, so the published set is the one in its report.
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
        folder = out if balanced.holds or override is not None else None
        if folder is not None:
            publish(balanced, folder)
        tracker.balanced(balanced, folder)
        tracker.cost()
    return balanced


def _call(
    experiment: Experiment, prepared: Mapping[int, Prepared], arm: Arm, seed: int, submit: Submit
) -> Runs:
    """Submit the stages of the comparison that draw an arm's images and measure their fidelity."""
    runs = Runs(prepared)
    reference = call_reference(runs, experiment, seed, submit).reference
    generator = call_generator(
        runs, experiment, TrainingSpec(name=str(arm.generator), seed=seed), submit
    )
    _, synthetic = call_synthetic(runs, experiment, arm, seed, submit, {})
    runs.arms[arm.name, seed] = ArmRun(arm, seed, prepared[seed], synthetic=synthetic)
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
        raise RuntimeError("the run ended without an error and without its results")
    table = load_table(generator.measured.table)
    outcomes = tuple(gates.outcome(gate, table) for gate in experiment.gate)
    broken = not all(outcome.holds for outcome in outcomes)
    return Balanced(
        experiment, arm, runs.prepared[seed], generator.trained, synthetic.synthetic,
        generator.measured, outcomes, override if broken else None,
    )  # fmt: skip
