"""The stages that train generators: whole ones, models of single classes, and what joins those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from PIL import Image

from augpipe.classifiers import train as classification
from augpipe.core import distributed as parallel
from augpipe.core import fingerprints as code
from augpipe.core.device import environment
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet, grid, provenance
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import Ref, Store, load_images, load_state
from augpipe.core.team import Team, launch
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.generators.checkpoint import Checkpoint
from augpipe.generators.per_class import part_problem, part_seed, part_set
from augpipe.generators.protocol import Deriving, Generator, GeneratorConfig, Problem, WarmStarting
from augpipe.pipeline.cache import reads
from augpipe.pipeline.records import Clock, Job, Part, Prepared, Report, TrainedGenerator
from augpipe.synthetic import draw as synthesis
from augpipe.synthetic.embeddings import Eyes
from augpipe.synthetic.fidelity.distances import class_kid

VALIDATED = 64  # images a class that a generator's checkpoint is judged by
SHOWN = 10  # images a class in a preview or sample grid


def parts_of(job: Job, prepared: Prepared, whole: Part) -> tuple[Part | None, list[Part]]:
    """What is trained for a generator: what the rest start from, if anything, and the whole or its parts."""
    config = job.experiment.generators[whole.name]
    if not config.per_class:
        return None, [whole]
    have = {label: n for label, n in prepared.counts["train"].items() if n > 0}
    parts = [
        whole.model_copy(update={"label": label, "of": prepared.classes[label]}) for label in have
    ]
    if config.pretrain and any(n < config.pretrain_below for n in have.values()):
        return whole.model_copy(update={"together": True}), parts
    return None, parts


def is_small(job: Job, prepared: Prepared, part: Part) -> bool:
    """Whether a class's model starts from the pretrained one."""
    if part.label is None:
        return False
    below = job.experiment.generators[part.name].pretrain_below
    return prepared.counts["train"][part.label] < below


class _Work:
    """What one training stands on."""

    def __init__(self, job: Job, prepared: Prepared, domain: Ref, part: Part) -> None:
        self.store, self.runtime = job.start()
        self.part, self.job, self.prepared, self.domain = part, job, prepared, domain
        whole = job.experiment.generators[part.name]
        self.seed = entropy(part.seed, "generator", part.name)
        self.problem, self.train_ref = prepared.problem, prepared.splits.train
        self.train, self.val = load_images(self.train_ref), load_images(prepared.splits.val)
        prepared.refuse_leaks(self.train, f"generator {part.name!r}")
        self.config = whole
        if whole.per_class:
            kimg = whole.pretrain if part.together else whole.kimg
            alone = {"per_class": False, "pretrain": 0.0, "kimg": kimg}
            self.config = whole.model_copy(update=alone)
            self._narrow(part.label)

    def _narrow(self, label: int | None) -> None:
        self.train, self.val = (part_set(s, label)[0] for s in (self.train, self.val))
        if label is None:
            self.seed = entropy(self.seed, "together")
            self.problem = Problem(self.problem.spec, ("all",))
        else:
            self.seed = part_seed(self.seed, label)
            self.problem = part_problem(self.problem, label)
        if len(self.val) == 0:
            self.val = self.train  # a class too small for val has nothing else to be judged by

    def build(self) -> Generator:
        """The generator to train, warm where it starts from another."""
        made = families.build(self.config, self.problem, self.runtime, self.seed)
        if self.part.start is not None:
            if not isinstance(made, WarmStarting):
                raise UserError(f"{self.config.kind} cannot start from a pretrained model")
            made.warm_start(load_state(self.part.start)["state"])
        if isinstance(made, Deriving) and (self.part.together or self.part.label is not None):
            self.train_ref = self.store.put_images(self.train)
        return made

    def checkpoint(self) -> Checkpoint:
        """Where the training goes on from after a kill, and what it follows from."""
        part, splits = self.part, self.prepared.splits
        header = {
            "config": self.config.model_dump(mode="json"),
            "seed": part.seed,
            "generator": part.name,
            "part": "all" if part.together else part.label,
            "data": {"train": splits.train.sha256, "val": splits.val.sha256},
            "classes": list(self.problem.classes),
            "image": [self.problem.spec.size, self.problem.spec.channels],
            "validation": [self.job.experiment.classifier.model_dump(mode="json"), VALIDATED],
            "start": part.start.sha256 if part.start else None,
            "with": environment(self.runtime),
            "domain": self.domain.sha256,
            "code": code.fingerprint(
                [
                    "augpipe.pipeline.stages.generators",
                    f"augpipe.generators.models.{self.config.kind}",
                ]
            ),
        }
        key = f"{entropy(0, repr(header)):016x}"
        if part.last is None:
            return Checkpoint(self.store.root / "training" / f"{key}.pt", header)
        which = "-all" if part.together else "" if part.label is None else f"-{part.label}"
        return Checkpoint(part.last / f"last{which}.pt", header)

    def present(self, n: int) -> torch.Tensor:
        """n labels of each class that train has."""
        have = [label for label, count in self.train.counts().items() if count > 0]
        return torch.tensor(have, dtype=torch.int64).repeat_interleave(n)


@reads("classifier", parallel=True)
def train_generator(
    job: Job, prepared: Prepared, domain: Ref, part: Part, *, report: Report
) -> TrainedGenerator:
    """One generator: its checkpoint with the lowest class-wise KID against val is kept.

    Begun and killed, it goes on from its last tick, to the same result. On several devices a process each trains it.
    """
    runner = job.experiment.runner
    trained = job.experiment.generators[part.name].kimg > 0
    if runner.devices == 1 or not trained:
        return cast(TrainedGenerator, _train(job, prepared, domain, part, report))
    job = job.model_copy(update={"threads": max(1, job.threads // runner.devices)})
    job.progress.mkdir(parents=True, exist_ok=True)
    team = Team(runner.devices, runner.device, runner.precision, str(job.progress))
    made = launch(team, _train, job, prepared, domain, part, report)
    return cast(TrainedGenerator, made)


def _train(
    job: Job, prepared: Prepared, domain: Ref, part: Part, report: Report
) -> TrainedGenerator | None:
    """Where several train, the first one writes and gives the record; all draw, as batch norms are set together."""
    clock, work = Clock(), _Work(job, prepared, domain, part)
    generator, store = work.build(), work.store
    shown = work.present(SHOWN)

    def on_tick(tick: training.Tick, current: Generator) -> dict[str, Any]:
        picture = _preview(current, shown, work.seed)
        if not parallel.leads():
            return {}
        ref = store.put("previews", lambda path: picture.save(path, format="PNG"), ".png")
        return {"preview": [str(ref.path), ref.sha256]}

    def on_progress(kimg: float, rate: float) -> None:
        if not parallel.leads():
            return
        left = (work.config.kimg - kimg) * 1000 / max(rate, 1e-9)
        report(f"{rate:.0f} img/s, {left:.0f} s left", kimg)

    hooks = training.Hooks(_judge(work), on_tick, on_progress)
    checkpoint = work.checkpoint()
    if job.fresh and part.last is None and parallel.leads():
        checkpoint.remove()
    parallel.wait_for_all()  # none looks for it before it is gone
    fitted = training.fit(
        generator, work.train, work.config, work.runtime,
        seed=work.seed, hooks=hooks, checkpoint=checkpoint,
    )  # fmt: skip
    parallel.wait_for_all()  # nor after: a training that was done already meets nobody on the way
    generator.load_state_dict(fitted.state)
    trained = _record(work, generator, fitted, shown, clock)
    if part.last is None and parallel.leads():
        checkpoint.remove()
    return trained


def _judge(work: _Work) -> training.Validate:
    """Class-wise KID of fresh images against val, in the real-only classifier's features."""
    judge = classification.from_state(load_state(work.domain), work.runtime)
    look = Eyes(judge, work.runtime)
    real = look.embed(work.val)
    asked = work.present(VALIDATED)

    def validate(current: Generator) -> float:
        images = synthesis.draw(current, asked, torch_stream(work.seed, "validation")).images
        made = loose_set(images, asked, work.train)
        return class_kid(real, look.embed(made))

    return validate


def _record(
    work: _Work, generator: Generator, fitted: training.Fitted, shown: torch.Tensor, clock: Clock
) -> TrainedGenerator | None:
    store, part = work.store, work.part
    images = synthesis.draw(generator, shown, torch_stream(work.seed, "preview")).images
    if not parallel.leads():
        return None
    packed = families.pack(work.config, work.problem, work.seed, work.train_ref, fitted.state)
    rows = [row for tick in fitted.ticks for row in _tick_rows(tick)]
    kept = [(tick.kimg, tick.kept["preview"]) for tick in fitted.ticks]
    return TrainedGenerator(
        name=part.name,
        seed=part.seed,
        part="all" if part.together else "" if part.label is None else work.problem.classes[0],
        checkpoint=store.put_state("generators", packed),
        history=_history(store, rows),
        # Those of ticks before a kill may have been pruned since.
        previews=tuple(
            (kimg, Ref(path=path, sha256=sha)) for kimg, (path, sha) in kept if Path(path).exists()
        ),
        samples=store.put_images(loose_set(images, shown, work.train)),
        learned=work.train_ref,
        best_kimg=fitted.best_kimg,
        best_metric=fitted.best_metric,
        stopped=fitted.stopped,
        time=clock.stop(),
    )


@reads()
def join_generators(
    job: Job,
    prepared: Prepared,
    parts: Sequence[TrainedGenerator],
    start: TrainedGenerator | None = None,
) -> TrainedGenerator:
    """Models of single classes as one generator; its kimg and seconds are theirs and their start's together."""
    clock, (store, here) = Clock(), job.start()
    name, seed = parts[0].name, parts[0].seed
    config: GeneratorConfig = job.experiment.generators[name]
    own = entropy(seed, "generator", name)
    label = {name: at for at, name in enumerate(prepared.classes)}
    states = {label[part.part]: load_state(part.checkpoint)["state"] for part in parts}
    packed = families.pack(config, prepared.problem, own, prepared.splits.train, {"parts": states})
    joined, _ = families.unpack(packed, here, store.images)
    shown = torch.tensor(sorted(states)).repeat_interleave(SHOWN)
    images = synthesis.draw(joined, shown, torch_stream(own, "preview")).images
    rows = [
        (part.best_kimg, part.time.seconds, f"val_kid/{part.part}", part.best_metric)
        for part in parts
    ]
    spent = [*parts, *([start] if start else [])]
    seconds = clock.stop().seconds + sum(part.time.seconds for part in spent)
    return TrainedGenerator(
        name=name,
        seed=seed,
        checkpoint=store.put_state("generators", packed),
        history=_history(store, rows),
        previews=(),
        samples=store.put_images(loose_set(images, shown, load_images(prepared.splits.train))),
        learned=prepared.splits.train,
        best_kimg=sum(part.best_kimg for part in spent),
        best_metric=sum(part.best_metric for part in parts) / len(parts),
        stopped="; ".join(sorted({part.stopped for part in parts})),
        time=clock.stop().model_copy(update={"seconds": seconds}),
    )


Row = tuple[float, float, str, float]


def _history(store: Store, rows: list[Row]) -> Ref:
    table = pd.DataFrame(rows, columns=["kimg", "seconds", "metric", "value"])
    return store.put_table("histories", table)


def _tick_rows(tick: training.Tick) -> Iterator[Row]:
    """A tick as rows of kimg, seconds, metric, value."""
    told = {
        **tick.losses,
        "val_kid": tick.metric,
        "diversity": tick.diversity,
        "images_per_second": tick.images_per_second,
    }
    for metric, value in told.items():
        yield tick.kimg, tick.seconds, metric, value


def loose_set(images: torch.Tensor, labels: torch.Tensor, like: ImageSet) -> ImageSet:
    """Loose images as a set, for measuring."""
    ids = [str(row) for row in range(len(labels))]
    return ImageSet(
        images.numpy(), labels.numpy(), like.classes, provenance(ids, origin="synthetic")
    )


def _preview(generator: Generator, labels: torch.Tensor, seed: int) -> Image.Image:
    """A grid with the same latents at every tick."""
    images = synthesis.draw(generator, labels, torch_stream(seed, "preview")).images.numpy()
    return grid(images, SHOWN, scale=max(1, 48 // images.shape[2]))
