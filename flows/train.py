"""Train one generator of an experiment, or resume its training, and write its files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from prefect import flow

from augpipe.core.checkpoint import header_of
from augpipe.core.errors import UserError
from augpipe.core.files import beside
from augpipe.core.images import grid
from augpipe.core.store import load_images, load_table
from augpipe.generators import families
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.graph import call_generator, call_reference
from augpipe.pipeline.records import Prepared, TrainedGenerator, TrainingSpec
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.stages.train_generator import SHOWN

from .arguments import checkpoints, is_leftover, resume_files
from .compare import prepared_by_seed, resolved
from .engine import stop_workers
from .flow_calls import recorded, undeployed
from .follow import follow
from .output import report
from .startup import started
from .tasks import Submit
from .tracking import Tracker
from .tracking.pending import Lost


def run(experiment: Experiment, name: str, seed: int, out: Path, resume: bool) -> tuple[TrainedGenerator, Lost]:
    """Train one generator and write its files to `out`; UserError if the data or the checkpoint in `out` do not allow
    it.

    Also returns why MLflow misses a part, or None.

    The arguments are checked (`arguments.check_train`). During training `out` holds a checkpoint, of every tick and
    minute, from which `resume` continues; it is removed when the files are written. With none there the training starts
    anew.
    """
    _check_same(out, name, seed, experiment.generators[name].per_class)
    leftovers = [] if checkpoints(out) else resume_files(out)
    if out.is_dir():
        leftovers += [path for path in out.iterdir() if is_leftover(path.name)]
    for path in leftovers:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if resume and not checkpoints(out):
        report(f"no checkpoint in {out} yet; the training starts from the beginning")
    with started(experiment) as ready:
        prepared = prepared_by_seed(experiment, ready.context, (seed,))
        # The generator need not be one of an arm, which `prepare` checks.
        families.check(experiment.generators[name], prepared[seed].problem)
        title = f"train {name}, seed {seed}"
        return ready.call(train, title, experiment, ready.context, prepared, name, out.resolve())


def _check_same(out: Path, name: str, seed: int, per_class: bool) -> None:
    """UserError if the output folder holds another generator's training."""
    for path in checkpoints(out):
        header = header_of(path)
        stored = (header.get("generator"), header.get("seed"), header.get("part") is not None)
        for key, now, before in zip(("generator", "seed", "per_class"), (name, seed, per_class), stored, strict=True):
            if now != before:
                raise UserError(f"cannot resume {path}: {key} is {now!r} here and was {before!r}")


@flow(name="train", validate_parameters=False)
@undeployed
@recorded
def train(
    experiment: Experiment, context: Context, prepared: Mapping[int, Prepared], name: str, out: Path
) -> tuple[TrainedGenerator, Lost]:
    """Train the generator or its per-class models on the data of the one seed, write the files."""
    (seed,) = prepared
    tracker = Tracker(experiment)
    with tracker.comparison(prepared[seed], "train", f"generator {name}, seed {seed}"):
        try:
            runs, submit = Runs(prepared), Submit(context, experiment.runner.timeout)
            call_reference(runs, experiment, seed, submit)
            spec = TrainingSpec(name=name, seed=seed, folder=out)
            # A training of its own, with a checkpoint in `out`: never taken from the cache.
            alone = context.model_copy(update={"fresh": True})
            call_generator(runs, experiment, spec, Submit(alone, experiment.runner.timeout))
            follow(runs, tracker, context).raise_first()
        except BaseException:
            stop_workers()
            raise
        trained = resolved(runs).generators[name, seed].trained
        write(trained, out)
        tracker.cost()
    return trained, tracker.lost


def write(trained: TrainedGenerator, out: Path) -> None:
    """Write the checkpoint, the history and a grid of ten samples per class, each to a draft that is then renamed.

    Then remove the files from which the training would have resumed.
    """
    images = load_images(trained.samples).images
    with beside(out / "checkpoint.pt") as draft:
        shutil.copyfile(trained.checkpoint.path, draft)
    with beside(out / "history.csv") as draft:
        load_table(trained.history).to_csv(draft, index=False)
    with beside(out / "samples.png") as draft:
        grid(images, SHOWN, scale=max(1, 48 // images.shape[2])).save(draft, format="PNG")
    for path in resume_files(out):
        path.unlink()
