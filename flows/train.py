"""Train one generator of an experiment, or resume its training, and write its files."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

from prefect import flow

from augpipe.core.errors import UserError, unknown
from augpipe.core.files import beside
from augpipe.core.images import grid
from augpipe.core.store import load_images, load_table
from augpipe.data.sources import place
from augpipe.generators import families
from augpipe.generators.checkpoint import header_of
from augpipe.pipeline.compare import Runs, call_generator, call_reference
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import TrainedGenerator, TrainingSpec
from augpipe.pipeline.stages.train_generator import SHOWN
from augpipe.report.write import check_place

from .compare import prepared_by_seed, resolved
from .engine import stop_workers
from .following import follow
from .starting import started
from .tasks import Submit
from .tracking import Tracker

FILES = ("checkpoint.pt", "history.csv", "samples.png")


def run(experiment: Experiment, name: str, seed: int, out: Path, resume: bool) -> TrainedGenerator:
    """Train one generator and write its files to `out`; UserError for invalid arguments.

    During training `out` holds a checkpoint of every tick, from which `resume` continues.
    """
    if name not in experiment.generators:
        raise unknown("generator", name, experiment.generators)
    if seed < 0:
        raise UserError(f"a seed must be 0 or more; got {seed}")
    _check(out, place(experiment.source), resume)
    _check_same(out, name, seed, experiment.generators[name].per_class)
    with started(experiment) as ready:
        flow_run = ready.named(train, f"train {name}, seed {seed}")
        return flow_run(experiment, ready.context, name, seed, out.resolve())


def _is_leftover(name: str) -> bool:
    """Whether a killed training left this file: a draft of an output file, or a write test of the folder."""
    match = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.(tmp|old)", name)
    draft = match is not None and (match[1] in FILES or fnmatch(match[1], "last*.pt"))
    return draft or name.startswith(".augpipe-")


def _checkpoints(out: Path) -> list[Path]:
    """Checkpoints of an unfinished training in its output folder."""
    names = out.glob("last*.pt") if out.is_dir() else ()
    return sorted(path for path in names if re.fullmatch(r"last(-all|-\d+)?\.pt", path.name))


def _check_same(out: Path, name: str, seed: int, per_class: bool) -> None:
    """UserError if the output folder holds another generator's training."""
    for path in _checkpoints(out):
        header = header_of(path)
        stored = (header.get("generator"), header.get("seed"), header.get("part") is not None)
        for key, now, before in zip(
            ("generator", "seed", "per_class"), (name, seed, per_class), stored, strict=True
        ):
            if now != before:
                raise UserError(f"cannot resume {path}: {key} is {now!r} here and was {before!r}")


def _check(out: Path, source: Path | None, resume: bool) -> None:
    check_place(out, source, "the out folder")
    for path in [
        path for path in (out.iterdir() if out.is_dir() else ()) if _is_leftover(path.name)
    ]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    checkpoints = _checkpoints(out)
    if resume and not checkpoints:
        raise UserError(f"no training to resume in {out}")
    if not resume and checkpoints:
        raise UserError(
            f"{out} contains an unfinished training; continue it with --resume, or choose another --out"
        )
    foreign = [
        path.name for path in (out.iterdir() if out.is_dir() else ())
        if path.name not in FILES and path not in checkpoints
    ]  # fmt: skip
    if foreign:
        raise UserError(
            f"the out folder {out} contains {sorted(foreign)[0]!r}, which is not a training file; choose another --out"
        )


@flow(name="train", validate_parameters=False)
def train(
    experiment: Experiment, context: Context, name: str, seed: int, out: Path
) -> TrainedGenerator:
    """Prepare the data, train the generator or its per-class models, write the files."""
    prepared = prepared_by_seed(experiment, context, (seed,))
    families.check(experiment.generators[name], prepared[seed].problem)
    tracker = Tracker(experiment)
    with tracker.comparison(prepared[seed], "train", f"generator {name}, seed {seed}"):
        try:
            runs, submit = Runs(prepared), Submit(context, experiment.runner.timeout)
            call_reference(runs, experiment, seed, submit)
            spec = TrainingSpec(name=name, seed=seed, folder=out)
            # A training of its own, with a checkpoint in `out`: never taken from the cache.
            alone = context.model_copy(update={"fresh": True})
            call_generator(runs, experiment, spec, Submit(alone, experiment.runner.timeout))
            follow(runs, tracker, context.progress).raise_first()
        except BaseException:
            stop_workers()
            raise
        trained = resolved(runs).generators[name, seed].trained
        write(trained, out)
        tracker.cost()
    return trained


def write(trained: TrainedGenerator, out: Path) -> None:
    """Write the checkpoint, the history and a grid of ten samples per class, each to a draft that is then renamed."""
    images = load_images(trained.samples).images
    with beside(out / "checkpoint.pt") as draft:
        shutil.copyfile(trained.checkpoint.path, draft)
    with beside(out / "history.csv") as draft:
        load_table(trained.history).to_csv(draft, index=False)
    with beside(out / "samples.png") as draft:
        grid(images, SHOWN, scale=max(1, 48 // images.shape[2])).save(draft, format="PNG")
