"""Build the balanced set of one arm, and publish it if its gates hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image
from prefect import flow

from augpipe.core.store import load_images
from augpipe.data.originals import originals
from augpipe.data.sources import listing
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.graph import call_generator, call_reference, call_synthetic
from augpipe.pipeline.records import Prepared, TrainingSpec
from augpipe.pipeline.runs import ArmRun, Runs
from augpipe.pipeline.stages.measure import measure_synthetic
from augpipe.report.balanced_set import Balanced, measured_set, publish
from augpipe.report.credentials import Signing
from augpipe.synthetic import gates

from .arguments import balanced_arm
from .compare import prepared_by_seed, resolved
from .engine import stop_workers
from .flow_calls import recorded, undeployed
from .follow import follow
from .startup import started
from .tasks import Submit
from .tracking import Tracker
from .tracking.pending import Lost

RealSize = Literal["original", "run"]


@dataclass(frozen=True)
class Order:
    """What to publish where, and how.

    seed: None for the config's first one. override: reason to publish although a gate does not hold. real_size: publish
    real pictures at their own size (`original`), or at that of the generator's images (`run`). form: one of
    `forms.FORMS`. signing: signs the PNG files of synthetic images.
    """

    arm: str
    out: Path
    seed: int | None = None
    override: str | None = None
    real_size: RealSize = "original"
    form: str = "folder"
    signing: Signing | None = None


def run(experiment: Experiment, order: Order) -> tuple[Balanced, Lost]:
    """Build an arm's balanced set and publish it to `order.out` if every gate holds, or if `override` gives a reason.

    The arguments are checked (`arguments.check_balance`). The result says whether the gates held; `out` is untouched if
    nothing is published. Also returns why MLflow misses a part of the command, or None.
    """
    seed = experiment.seeds[0] if order.seed is None else order.seed
    order = replace(order, seed=seed, out=order.out.resolve())
    with started(experiment) as ready:
        prepared = prepared_by_seed(experiment, ready.context, (seed,))
        title = f"balance {order.arm}, seed {seed}"
        return ready.call(balance, title, experiment, ready.context, prepared, order)


@flow(name="balance", validate_parameters=False)
@undeployed
@recorded
def balance(
    experiment: Experiment, context: Context, prepared: Mapping[int, Prepared], order: Order
) -> tuple[Balanced, Lost]:
    """Train the generator, draw and check images, measure them, test the gates, publish.

    The generator and images of an earlier `run` are reused, so the published set is the one in its report.
    """
    arm = balanced_arm(experiment, order.arm)
    (seed,) = prepared
    tracker = Tracker(experiment)
    with tracker.comparison(prepared[seed], "balance", f"balanced set of {arm.name}, seed {seed}"):
        try:
            runs = _call(experiment, prepared, arm, seed, Submit(context, experiment.runner.timeout))
            follow(runs, tracker, context).raise_first()
        except BaseException:
            stop_workers()
            raise
        runs = resolved(runs)
        balanced = _balanced(experiment, runs, arm, seed, order.override)
        folder = order.out if balanced.holds or order.override is not None else None
        if folder is not None:
            originals = _real_pictures(balanced) if order.real_size == "original" else None
            publish(balanced, folder, originals, order.form, order.signing)
        tracker.balanced(balanced, folder)
        tracker.cost()
    return balanced, tracker.lost


def _real_pictures(balanced: Balanced) -> Iterator[Image.Image]:
    experiment, real = balanced.experiment, load_images(balanced.prepared.splits.train)
    return originals(listing(experiment.source), real, experiment.image)


def _call(experiment: Experiment, prepared: Mapping[int, Prepared], arm: Arm, seed: int, submit: Submit) -> Runs:
    """Submit the stages of the comparison that draw an arm's images and measure their fidelity."""
    runs = Runs(prepared)
    reference = call_reference(runs, experiment, seed, submit).reference
    generator = call_generator(runs, experiment, TrainingSpec(name=str(arm.generator), seed=seed), submit)
    _, synthetic = call_synthetic(runs, experiment, arm, seed, submit, {})
    runs.arms[arm.name, seed] = ArmRun(arm, seed, prepared[seed], synthetic=synthetic)
    generator.measured = submit(
        measure_synthetic,
        prepared[seed],
        reference,
        synthetic,
        experiment.fidelity,
        experiment.classifier,
        seed,
        title=f"measure the synthetic images, seed {seed}",
    )
    return runs


def _balanced(experiment: Experiment, runs: Runs, arm: Arm, seed: int, override: str | None) -> Balanced:
    generator, synthetic = runs.generators[str(arm.generator), seed], runs.arms[arm.name, seed]
    if generator.measured is None or synthetic.synthetic is None:
        raise RuntimeError("the run ended without an error and without its results")
    table = measured_set(runs.prepared[seed], synthetic.synthetic, generator.measured)
    outcomes = tuple(gates.outcome(gate, table) for gate in experiment.gate)
    broken = not all(outcome.holds for outcome in outcomes)
    return Balanced(
        experiment,
        arm,
        runs.prepared[seed],
        generator.trained,
        synthetic.synthetic,
        generator.measured,
        outcomes,
        override if broken else None,
    )
