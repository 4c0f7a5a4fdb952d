"""The stages that train generators: joint models, per-class models, and their combination."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from PIL import Image

from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.trained import Trained
from augpipe.core import distributed, fingerprints, machine
from augpipe.core.checkpoint import Checkpoint
from augpipe.core.device import Runtime
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet, grid
from augpipe.core.refs import Ref
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import Store, load_images, load_state
from augpipe.core.team import Team, launch
from augpipe.generators import families, fit
from augpipe.generators.carry_over import carried_over
from augpipe.generators.options import FAMILIES, OTHER_SET, GeneratorConfig
from augpipe.generators.per_class import class_problem, class_seed, class_subset
from augpipe.generators.protocol import Deriving, Generator, Problem, WarmStarting
from augpipe.generators.ticks import Fitted, Hooks, Tick, Validate
from augpipe.pipeline.context import Context, Report, Timer, silent
from augpipe.pipeline.records import Prepared, TrainedGenerator, TrainingSpec
from augpipe.synthetic import draw
from augpipe.synthetic.embeddings import FeatureExtractor
from augpipe.synthetic.fidelity.distances import class_kid

VALIDATED = 64  # images per class for validating a checkpoint
SHOWN = 10  # images per class in a preview or sample grid
SHOWN_CLASSES = 20  # of another set, by whose images its training is validated and shown


def specs(
    prepared: Prepared, options: GeneratorConfig, whole: TrainingSpec
) -> tuple[TrainingSpec | None, list[TrainingSpec]]:
    """The trainings of one generator: the pooled model that others start from, if any, and the whole or its classes."""
    if not options.per_class:
        return None, [whole]
    have = {label: n for label, n in prepared.counts["train"].items() if n > 0}
    classes = [whole.model_copy(update={"label": label, "class_name": prepared.classes[label]}) for label in have]
    if options.pretrain and any(n < options.pretrain_below for n in have.values()):
        return whole.model_copy(update={"pooled": True}), classes
    return None, classes


def starts_pretrained(prepared: Prepared, options: GeneratorConfig, spec: TrainingSpec) -> bool:
    """Whether a class's model starts from the pooled one."""
    if spec.label is None:
        return False
    return prepared.counts["train"][spec.label] < options.pretrain_below


class _Training:
    """The data, settings and seed of one training."""

    def __init__(
        self,
        context: Context,
        prepared: Prepared,
        reference: Ref,
        spec: TrainingSpec,
        start: TrainedGenerator | None,
        options: GeneratorConfig,
        classifier: ClassifierOptions,
    ) -> None:
        self.store, self.runtime = context.store, context.runtime()
        self.spec, self.prepared, self.reference = spec, prepared, reference
        self.start = start.checkpoint if start else None
        self.threads, self.classifier = context.threads, classifier
        self.seed = entropy(spec.seed, "generator", spec.name)
        self.problem, self.train_ref = prepared.problem, spec.images or prepared.splits.train
        self.train, self.val = load_images(self.train_ref), load_images(prepared.splits.val)
        prepared.refuse_leaks(self.train, f"generator {spec.name!r}")
        self.options, self.shown = options, self.train
        if spec.other and spec.images is None:
            raise UserError(f"generator {spec.name!r} starts on another set, and none was read")
        if spec.other:
            self._of_other_set()
        if options.external and spec.images is None:
            raise UserError(f"generator {spec.name!r} reads its images from a source, and none were read")
        if options.per_class:
            kimg = options.pretrain if spec.pooled else options.kimg
            single = {"per_class": False, "pretrain": 0.0, "kimg": kimg}
            self.options = options.model_copy(update=single)
            self._narrow(spec.label)

    def _narrow(self, label: int | None) -> None:
        self.train, self.val = (class_subset(s, label)[0] for s in (self.train, self.val))
        if label is None:
            self.seed = entropy(self.seed, "together")
            self.problem = Problem(self.problem.spec, ("all",))
        else:
            self.seed = class_seed(self.seed, label)
            self.problem = class_problem(self.problem, label)
        self.shown = self.train
        if len(self.val) == 0:
            self.val = self.train  # a class that val lacks can only be validated on train

    def _of_other_set(self) -> None:
        """Settings of the training on another set, which is validated on some images of some of its classes.

        No collapse is looked for: that would draw images of each of its classes, which may be thousands.
        """
        self.seed = entropy(self.seed, "other set")
        self.problem = Problem(self.problem.spec, self.train.classes)
        labels = np.array(self.train.labels)
        have = np.unique(labels)
        some = have[np.linspace(0, len(have) - 1, min(len(have), SHOWN_CLASSES)).astype(np.int64)]
        rows = [np.flatnonzero(labels == label)[:VALIDATED] for label in some]
        self.shown = self.val = self.train.take(np.sort(np.concatenate(rows)))
        single = {"start": None, "kimg": self.options.start_kimg, "collapse": 0.0}
        self.options = self.options.model_copy(update=single)

    def build(self) -> Generator:
        """The generator to train, with another's nets if it starts from one."""
        generator = families.build(self.options, self.problem, self.runtime, self.seed)
        if self.start is not None:
            if not isinstance(generator, WarmStarting):
                raise UserError(f"{self.options.kind} cannot start from a pretrained model")
            state = load_state(self.start)["state"]
            if self.options.start:
                state = carried_over(state, generator, self.options, self.problem, self.runtime)
            generator.warm_start(state)
        if isinstance(generator, Deriving) and (self.spec.pooled or self.spec.label is not None):
            self.train_ref = self.store.put_images(self.train)
        return generator

    def checkpoint(self) -> Checkpoint:
        """The file that the training resumes from after a kill; its header holds everything it depends on."""
        spec, splits = self.spec, self.prepared.splits
        where = machine.environment(self.runtime.device.type, self.runtime.precision, self.threads, distributed.size())
        header = {
            "config": self.options.model_dump(mode="json"),
            "seed": spec.seed,
            "generator": spec.name,
            "part": OTHER_SET if spec.other else "all" if spec.pooled else spec.label,
            "data": {"train": splits.train.sha256, "val": splits.val.sha256},
            "classes": list(self.problem.classes),
            "image": [self.problem.spec.size, self.problem.spec.channels],
            "validation": [self.classifier.model_dump(mode="json"), VALIDATED],
            "start": self.start.sha256 if self.start else None,
            "images": spec.images.sha256 if spec.images else None,
            "with": where,
            "reference": self.reference.sha256,
            "code": fingerprints.fingerprint([__name__, f"{FAMILIES}.{self.options.kind}"]),
        }
        key = f"{entropy(0, repr(header)):016x}"
        if spec.folder is None:
            return Checkpoint(self.store.root / "training" / f"{key}.pt", header, disposable=True)
        which = "-other" if spec.other else "-all" if spec.pooled else "" if spec.label is None else f"-{spec.label}"
        return Checkpoint(spec.folder / f"last{which}.pt", header)

    def validation(self) -> Validate:
        """The metric by which a checkpoint is selected, in features of the reference classifier."""
        classifier = trained_classifier.from_state(load_state(self.reference), self.runtime)
        return validation(classifier, self.shown, self.val, self.runtime, self.seed)


def train_generator(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    spec: TrainingSpec,
    start: TrainedGenerator | None,
    options: GeneratorConfig,
    classifier: ClassifierOptions,
    *,
    report: Report = silent,
) -> TrainedGenerator:
    """Train one generator and select the checkpoint with the lowest class-wise KID against val.

    After a kill it resumes from its last checkpoint, to the same result. start: the model to start from. classifier:
    options of the reference classifier.
    """
    task, devices = (prepared, reference, spec, start, options, classifier, report), spec.devices
    if devices == 1 or not options.kimg > 0:
        return cast(TrainedGenerator, _train(context, *task))
    place = context.progress or Path(tempfile.gettempdir())
    place.mkdir(parents=True, exist_ok=True)
    context = context.model_copy(update={"threads": max(1, context.threads // devices)})
    team = Team(devices, context.device, str(place))
    return cast(TrainedGenerator, launch(team, _train, context, *task))


def _train(
    context: Context,
    prepared: Prepared,
    reference: Ref,
    spec: TrainingSpec,
    start: TrainedGenerator | None,
    options: GeneratorConfig,
    classifier: ClassifierOptions,
    report: Report,
) -> TrainedGenerator | None:
    """Train in this process. With several processes only rank 0 writes files and returns the record, but all draw
    images, to keep batch norms equal.
    """
    timer = Timer()
    work = _Training(context, prepared, reference, spec, start, options, classifier)
    generator, store = work.build(), work.store

    def on_tick(tick: Tick, current: Generator) -> dict[str, Any]:
        picture = _preview(current, work.shown, work.seed)
        if not distributed.leads():
            return {}
        ref = store.put("previews", lambda path: picture.save(path, format="PNG"), ".png")
        return {"preview": ref.sha256}

    def on_progress(kimg: float, rate: float) -> None:
        if distributed.leads():
            left = (work.options.kimg - kimg) * 1000 / max(rate, 1e-9)
            report(f"{rate:.0f} img/s, {left:.0f} s left", kimg)

    hooks = Hooks(work.validation(), on_tick, on_progress)
    try:
        checkpoint = work.checkpoint()
    except fingerprints.ChangedError:  # nothing says which code a resumed training would have run
        checkpoint = None
    if context.fresh and checkpoint and spec.folder is None and distributed.leads():
        checkpoint.remove()
    distributed.wait_for_all()  # no process may read the checkpoint before it is removed
    fitted = fit.fit(
        generator, work.train, work.options, work.runtime, seed=work.seed, hooks=hooks, checkpoint=checkpoint
    )
    distributed.wait_for_all()  # rank 0 must not remove the checkpoint while others still read it
    generator.load_state_dict(fitted.state)
    trained = _record(work, generator, fitted, timer)
    if checkpoint and spec.folder is None and distributed.leads():
        checkpoint.remove()
    return trained


def validation(classifier: Trained, train: ImageSet, val: ImageSet, runtime: Runtime, seed: int) -> Validate:
    """Class-wise KID of newly drawn images against val, in features of a classifier of real images."""
    extractor = FeatureExtractor(classifier, runtime)
    real = extractor.embed(val)

    def validate(current: Generator) -> float:
        labels = draw.labels_of(train.counts(), VALIDATED, current)
        images = draw.draw(current, labels, torch_stream(seed, "validation")).images
        return class_kid(real, extractor.embed(draw.synthetic_set(images, labels, train)))

    return validate


def _record(training: _Training, generator: Generator, fitted: Fitted, timer: Timer) -> TrainedGenerator | None:
    store, spec = training.store, training.spec
    shown = draw.labels_of(training.shown.counts(), SHOWN, generator)
    images = draw.draw(generator, shown, torch_stream(training.seed, "preview")).images
    if not distributed.leads():
        return None
    packed = families.pack(training.options, training.problem, training.seed, training.train_ref, fitted.state)
    rows = [row for tick in fitted.ticks for row in _tick_rows(tick)]
    previews = []
    for tick in fitted.ticks:
        sha = tick.kept["preview"]
        path = store.find("previews", sha, ".png")
        if path is not None:  # previews from before a kill may have been pruned
            previews.append((tick.kimg, Ref(path=path, sha256=sha)))
    return TrainedGenerator(
        name=spec.name,
        kind=training.options.kind,
        seed=spec.seed,
        class_model=spec.class_model,
        class_of=training.prepared.class_of,
        checkpoint=store.put_state("generators", packed),
        history=_history(store, rows),
        previews=tuple(previews),
        samples=store.put_images(draw.synthetic_set(images, shown, training.train)),
        learned=training.train_ref,
        best_kimg=fitted.best_kimg,
        best_metric=fitted.best_metric,
        stopped=fitted.stopped,
        time=timer.stop(),
    )


def join_generators(
    context: Context,
    prepared: Prepared,
    options: GeneratorConfig,
    models: Sequence[TrainedGenerator],
    start: TrainedGenerator | None = None,
) -> TrainedGenerator:
    """Join per-class models into one generator;
    its kimg and seconds are sums over all models, including the pooled one.
    """
    timer, store = Timer(), context.store
    name, seed = models[0].name, models[0].seed
    generator_seed = entropy(seed, "generator", name)
    label = {name: at for at, name in enumerate(prepared.classes)}
    states = {label[model.class_model]: load_state(model.checkpoint)["state"] for model in models}
    packed = families.pack(options, prepared.problem, generator_seed, prepared.splits.train, {"parts": states})
    joined, _ = families.unpack(packed, context.runtime(), store.images)
    shown = torch.tensor(sorted(states)).repeat_interleave(SHOWN)
    images = draw.draw(joined, shown, torch_stream(generator_seed, "preview")).images
    rows = [
        (model.best_kimg, model.time.seconds, f"val_kid/{model.class_model}", model.best_metric) for model in models
    ]
    spent = [*models, *([start] if start else [])]
    seconds = timer.stop().seconds + sum(model.time.seconds for model in spent)
    return TrainedGenerator(
        name=name,
        kind=options.kind,
        seed=seed,
        class_of=prepared.class_of,
        checkpoint=store.put_state("generators", packed),
        history=_history(store, rows),
        previews=(),
        samples=store.put_images(draw.synthetic_set(images, shown, load_images(prepared.splits.train))),
        learned=prepared.splits.train,
        best_kimg=sum(model.best_kimg for model in spent),
        best_metric=sum(model.best_metric for model in models) / len(models),
        stopped="; ".join(sorted({model.stopped for model in models})),
        time=timer.stop().model_copy(update={"seconds": seconds}),
    )


Row = tuple[float, float, str, float]


def _history(store: Store, rows: list[Row]) -> Ref:
    table = pd.DataFrame(rows, columns=["kimg", "seconds", "metric", "value"])
    return store.put_table("histories", table)


def _tick_rows(tick: Tick) -> Iterator[Row]:
    """A tick as rows of kimg, seconds, metric, value."""
    figures = {
        **tick.losses,
        "val_kid": tick.metric,
        "diversity": tick.diversity,
        "images_per_second": tick.images_per_second,
    }
    for metric, value in figures.items():
        yield tick.kimg, tick.seconds, metric, value


def _preview(generator: Generator, train: ImageSet, seed: int) -> Image.Image:
    """A grid with the same latents at every tick."""
    labels = draw.labels_of(train.counts(), SHOWN, generator)
    images = draw.draw(generator, labels, torch_stream(seed, "preview")).images.numpy()
    return grid(images, SHOWN, scale=max(1, 48 // images.shape[2]))
