"""Python API for notebooks: run an experiment, or train a generator and sample from it, without Prefect and MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.plans import plan
from augpipe.core import device
from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.core.images import ImageSet, Splits
from augpipe.core.options import Device, Precision
from augpipe.core.schema import explain
from augpipe.core.seeds import entropy, torch_stream
from augpipe.core.store import Store, load_images
from augpipe.data.sources import place
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.generators.options import AnyGenerator, GeneratorConfig
from augpipe.generators.protocol import Generator, Problem
from augpipe.pipeline.compare import compare as call_stages
from augpipe.pipeline.compare import local
from augpipe.pipeline.context import Context, workers_and_threads
from augpipe.pipeline.defaults import for_source
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.experiment import load as load_config
from augpipe.pipeline.pruning import running
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.train_classifier import fit_reference
from augpipe.report.results import Results, collect
from augpipe.report.write import check_out, write
from augpipe.synthetic import draw
from augpipe.synthetic.embeddings import FeatureExtractor
from augpipe.synthetic.fidelity.distances import class_kid

VALIDATED = 64  # images per class for validating a checkpoint in `fit`


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file, or one chosen for a folder, archive, table or `.npz` of images.

    overrides: `key.key=value`, as with `--set`. Raises UserError for a mistake in the file or the data.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return load_config(path, overrides)
    return for_source(path, overrides)[0]


def compare(experiment: Experiment, *, fresh: bool = False) -> Results:
    """Run every stage of an experiment in this process and compare its arms.

    Results are stored below AUGPIPE_HOME and reused by later calls and by the command. fresh: nothing is reused. Raises
    UserError for mistakes in the data, and the exceptions of the stages.
    """
    start, store = time.perf_counter(), Store(home() / "store")
    runner = experiment.runner
    _, threads = workers_and_threads(runner, len(experiment.seeds) * len(experiment.arms))
    context = Context(
        root=store.root, device=runner.device, precision=runner.precision,
        threads=threads, fresh=fresh,
    ).resolved()  # fmt: skip
    with running(store):
        if experiment.resplit:
            prepared = {seed: prepare(context, experiment, seed) for seed in experiment.seeds}
        else:
            prepared = dict.fromkeys(experiment.seeds, prepare(context, experiment))
        runs = call_stages(experiment, prepared, local(context))
        seconds = time.perf_counter() - start
        return collect(experiment, runs, seconds, threads=threads)


def run(
    source: Experiment | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    fresh: bool = False,
) -> Results:
    """`compare`, and the files of a run in `out`: report.html, scores.csv, fidelity.csv, summary.json and the rest.

    source: an experiment, or what `load` takes. out: a new or an earlier run's folder; runs/NAME below AUGPIPE_HOME by
    default.
    """
    if isinstance(source, Experiment) and overrides:
        raise UserError(
            f"overrides apply to a file or images, not to an Experiment: {overrides[0]!r}"
        )
    experiment = source if isinstance(source, Experiment) else load(source, overrides)
    folder = Path(out) if out is not None else home() / "runs" / experiment.name
    check_out(folder, place(experiment.source))  # before the expensive part
    results = compare(experiment, fresh=fresh)
    write(results, folder)
    return results


@dataclass(frozen=True)
class Fitted:
    """A trained generator, its training set, and the outcome of the training."""

    generator: Generator
    train: ImageSet
    config: GeneratorConfig
    seed: int
    best_kimg: float  # thousands of real images shown at the selected checkpoint
    best_metric: float  # class-wise KID against val; nan without val
    stopped: str


def fit(
    train: ImageSet,
    config: GeneratorConfig | Mapping[str, Any],
    *,
    val: ImageSet | None = None,
    seed: int = 0,
    runtime: tuple[Device, Precision] = ("auto", "auto"),
    threads: int | None = None,
) -> Fitted:
    """Train one class-conditional generator on uint8 (N,C,H,W) images.

    config: options of a family, as in a config file: `{"kind": "cgan", "kimg": 100}`. val: select the checkpoint with the
    lowest class-wise KID against it, in the features of a classifier trained on train; without val, the last checkpoint.
    Raises UserError for unknown options, and for image shapes that the family does not support.
    """
    try:
        options: GeneratorConfig = TypeAdapter(AnyGenerator).validate_python(config)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    problem = Problem(train.spec, train.classes)
    families.check(options, problem)
    here = device.start(*runtime, threads=threads or device.cores())
    generator = families.build(options, problem, here, seed)
    validate = _Last() if val is None else _kid(train, val, here, seed)
    fitted = training.fit(
        generator, train, options, here, seed=seed, hooks=training.Hooks(validate)
    )
    generator.load_state_dict(fitted.state)
    metric = float("nan") if val is None else fitted.best_metric
    return Fitted(generator, train, options, seed, fitted.best_kimg, metric, fitted.stopped)


class _Last:
    """A metric that falls at every call, so that the last checkpoint is the best."""

    def __init__(self) -> None:
        self._value = 0.0

    def __call__(self, current: Generator) -> float:
        self._value -= 1.0
        return self._value


def synthesize(
    fitted: Fitted, fill: str | int | float | Mapping[str, int] = "auto", *, seed: int = 0
) -> ImageSet:
    """Sample images from a trained generator, with ids, and with parents if the family derives them from train images.

    fill: how many of each class, as in an arm's mix: `auto` fills every class up to the largest, a number is
    the count of each class, a mapping gives counts by class name.
    """
    train = fitted.train
    counts = plan(fill, train.counts(), train.classes)
    with tempfile.TemporaryDirectory(prefix="augpipe-synthetic-") as folder:
        sampled = draw.sample(
            fitted.generator,
            counts,
            train,
            name=fitted.config.kind,
            seed=seed,
            store=Store(Path(folder)),
        )
        stored = load_images(sampled.images)
        return ImageSet(stored.images.copy(), stored.labels, stored.classes, stored.table)


def _kid(train: ImageSet, val: ImageSet, runtime: device.Runtime, seed: int) -> training.Validate:
    """Class-wise KID against val, in the features of a classifier of real images."""
    splits = Splits(train, val, val)
    reference = fit_reference(splits, ClassifierOptions(), runtime, seed=entropy(seed, "domain"))
    extractor = FeatureExtractor(reference, runtime)
    real = extractor.embed(val)
    have = [label for label, n in train.counts().items() if n > 0]
    labels = torch.tensor(have, dtype=torch.int64).repeat_interleave(VALIDATED)

    def validate(current: Generator) -> float:
        images = draw.draw(current, labels, torch_stream(seed, "validation")).images
        return class_kid(real, extractor.embed(draw.synthetic_set(images, labels, train)))

    return validate
