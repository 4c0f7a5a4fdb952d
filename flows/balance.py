"""The balanced set of one arm: trained, filled, checked, measured, and published where its gates hold."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from rich.console import Console

from augpipe.core.errors import UserError, unknown
from augpipe.core.store import load_table
from augpipe.data.sources import place
from augpipe.pipeline.experiment import Arm, Experiment
from augpipe.pipeline.records import Job, Part
from augpipe.report.balanced_set import Balanced, check_out, publish
from augpipe.synthetic import gates
from flows import tasks
from flows.engine import stop_workers
from flows.following import follow, told
from flows.starting import started
from flows.submitting import Futures, grow, promised, send
from flows.tracking import Tracker


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
    jobs = 2 if experiment.generators[str(own.generator)].per_class else 1
    with started(experiment, jobs) as ready:
        named = ready.named(balance, f"balance {arm}, seed {which}")
        return named(ready.job, own, which, out.resolve(), override)


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
def balance(job: Job, arm: Arm, seed: int, out: Path, override: str | None) -> Balanced:
    """Prepare, train the generator, fill, check, measure, hold the gates, publish."""
    prepared = tasks.prepare(job, seed if job.experiment.resplit else None)
    for line in told(prepared.intake):
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    tracker = Tracker(job.experiment)
    with tracker.comparison(prepared, "balance", f"balanced set of {arm.name}, seed {seed}"):
        futures, key = Futures(), (arm.name, seed)
        try:
            futures.domains[seed] = send(tasks.train_features, job, prepared, seed)
            domain = promised(futures.domains[seed])
            grow(job, prepared, Part(name=str(arm.generator), seed=seed), futures)
            generator = futures.generators[str(arm.generator), seed]
            futures.synthesised[key] = send(
                tasks.synthesise,
                job, prepared, domain, promised(generator), dict(prepared.plans[arm.name]),
                job.experiment.curates(arm),
            )  # fmt: skip
            futures.measured[key] = send(
                tasks.measure_made, job, prepared, domain, promised(futures.synthesised[key]), seed
            )
            follow(futures, {seed: prepared}, tracker, job.progress).raise_first()
        except BaseException:
            stop_workers()
            raise
        measured = futures.measured[key].result()
        table = load_table(measured.table)
        outcomes = tuple(gates.outcome(gate, table) for gate in job.experiment.gate)
        broken = not all(one.holds for one in outcomes)
        found = Balanced(
            job.experiment, arm, prepared, generator.result(), futures.synthesised[key].result(),
            measured, outcomes, override if broken else None,
        )  # fmt: skip
        if not broken or override is not None:
            publish(found, out)
        tracker.balanced(found, out if not broken or override is not None else None)
        tracker.cost()
    return found
