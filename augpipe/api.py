"""Python API for notebooks: run an experiment, or train a generator and sample from it, without Prefect and MLflow."""

from __future__ import annotations

import operator
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from augpipe.classifiers.options import ClassifierOptions
from augpipe.classifiers.plans import plan
from augpipe.core import device
from augpipe.core.errors import UserError, choices, exists, near_name, several
from augpipe.core.files import scratch
from augpipe.core.home import home
from augpipe.core.images import ImageSet, Splits
from augpipe.core.machine import cores
from augpipe.core.notebook import progress
from augpipe.core.options import Device, Precision
from augpipe.core.schema import explain
from augpipe.core.seeds import entropy
from augpipe.core.store import Store, load_images
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.generators.options import AnyGenerator, GeneratorConfig
from augpipe.generators.protocol import Generator, Problem
from augpipe.generators.ticks import Hooks, Validate
from augpipe.pipeline.budget import parse
from augpipe.pipeline.confirm import confirm
from augpipe.pipeline.context import Context, check_threads, workers_and_threads
from augpipe.pipeline.defaults import for_source, suggest
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.experiment import load as load_config
from augpipe.pipeline.graph import More, call_stages, count_calls, local, train_and_score
from augpipe.pipeline.planning import for_images
from augpipe.pipeline.pruning import running
from augpipe.pipeline.replicates import explored
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.train_classifier import fit_reference
from augpipe.pipeline.stages.train_generator import validation
from augpipe.report.collect import collect, with_confirmed
from augpipe.report.out import check_home, check_out
from augpipe.report.plan_text import plan_lines
from augpipe.report.run_results import RunResults
from augpipe.report.write import write
from augpipe.synthetic import draw


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file, or one chosen for images in any form that `augpipe run` takes (folder, archive,
    table, `.npz`, Parquet, shards, DICOM).

    overrides: `key.key=value`, as with `--set`. Raises UserError for a mistake in the file or the data.
    """
    path = Path(path)
    if not exists(path):
        raise UserError(f"no config, folder or file {str(path)!r}{near_name(path)}")
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return load_config(path, overrides)
    return for_source(path, overrides)[0]


def compare(experiment: Experiment, *, fresh: bool = False) -> RunResults:
    """Run every stage of an experiment in this process, compare its arms, and confirm the best two with fresh seeds.

    Results are stored below AUGPIPE_HOME and reused by later calls and by the command. fresh: nothing is reused. Raises
    UserError for mistakes in the data, and the exceptions of the stages.
    """
    check_threads(experiment.runner)
    check_home(experiment.places)
    start, store = time.perf_counter(), Store(home() / "store")
    runner = experiment.runner
    _, threads = workers_and_threads(runner, len(experiment.seeds) * len(experiment.arms))
    context = Context(
        root=store.root, device=runner.device, precision=runner.precision, threads=threads, fresh=fresh
    ).resolved()
    with running(store):
        if experiment.resplit:
            prepared = {seed: prepare(context, experiment, seed) for seed in experiment.seeds}
        else:
            prepared = dict.fromkeys(experiment.seeds, prepare(context, experiment))
        bar = progress(experiment.name, count_calls(experiment, prepared))
        runs = call_stages(experiment, prepared, local(context, bar))
        first = collect(experiment, runs, time.perf_counter() - start, threads=threads)

        def train(stage: Experiment, more: More, known: Runs | None) -> tuple[Runs, dict[str, str]]:
            splits = dict.fromkeys(stage.seeds, prepared[experiment.seeds[0]])
            return train_and_score(stage, splits, local(context, bar), more, known), {}

        confirmed = confirm(
            experiment, first.finalists, train, measured=explored(experiment, runs, first.generative()), first=runs
        )
        results = with_confirmed(first, confirmed, time.perf_counter() - start)
        bar.close("done")
        return RunResults.of(results, runs)


def run(
    source: Experiment | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    budget: str | None = None,
    fresh: bool = False,
) -> RunResults:
    """`compare`, and the files of a run in `out`: report.html, scores.csv, fidelity.csv, summary.json and the rest.

    source: an experiment, or what `load` takes. out: a new or an earlier run's folder; runs/NAME below AUGPIPE_HOME by
    default. budget: time that a run on images may take, as with the command ("10m"; 30 minutes by default); its plan is
    printed on standard error.
    """
    if isinstance(source, Experiment) and overrides:
        raise UserError(f"overrides apply to a file or images, not to an Experiment: {overrides[0]!r}")
    if isinstance(source, Experiment) and budget is not None:
        raise UserError(f"budget applies to images only; an Experiment has its own settings; got budget={budget!r}")
    experiment = source if isinstance(source, Experiment) else _planned(source, overrides, budget, fresh)
    folder = Path(out) if out is not None else home() / "runs" / experiment.name
    check_home(experiment.places)
    check_out(folder, experiment.places)  # before the expensive part
    results = compare(experiment, fresh=fresh)
    write(results, folder)
    return results


def _planned(source: str | Path, overrides: Sequence[str], budget: str | None, fresh: bool) -> Experiment:
    """The experiment of a config; for images, the one that fits the budget, in this process alone."""
    path = Path(source)
    if not exists(path) or path.suffix.lower() in (".yaml", ".yml"):
        if budget is not None:
            raise UserError(f"budget applies to images only; the config {source} has its own settings")
        return load(path, overrides)
    plan = for_images(suggest(path, overrides), parse(budget) if budget else None, alone=True, fresh=fresh)
    print(*plan_lines(plan), sep="\n", file=sys.stderr)
    return plan.experiment


@dataclass(frozen=True)
class Fitted:
    """A trained generator, its training set, and the outcome of the training."""

    generator: Generator
    train: ImageSet
    config: GeneratorConfig
    seed: int
    best_kimg: float  # thousands of real images shown at the selected checkpoint
    best_metric: float  # class-wise KID against val; nan without val
    stopped: str  # why the training ended: the whole budget, or early


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

    config: options of a family, as in a config file: `{"kind": "cgan", "kimg": 100}`. val: select the checkpoint with
    the lowest class-wise KID against it, in the features of a classifier trained on train; without val, the last
    checkpoint. Raises UserError for unknown options and `pretrain`, a seed or threads that are no whole number in their
    range, a train without images, with repeated ids or classes, or of another form, image shapes that the family does
    not support, and for a val that is empty or has other classes, another shape, or images of train; its subclass
    NotTrainedError if no checkpoint had a finite KID.
    """
    seed = _whole(seed, 0, "a seed")
    threads = cores() if threads is None else _whole(threads, 1, "threads")
    _check_train(train)
    options = _generator_options(config)
    problem = Problem(train.spec, train.classes)
    families.check(options, problem)
    if val is not None:
        _check_val(train, val)
    here = device.start(*runtime, threads=threads)
    generator = families.build(options, problem, here, seed)
    validate = _Last() if val is None else _kid(train, val, here, seed)
    bar = progress(f"train {options.kind}")
    bar.begin("on kimg", options.kimg)
    hooks = Hooks(validate, on_progress=lambda kimg, rate: bar.report(f"{rate:.0f} img/s", kimg))
    fitted = training.fit(generator, train, options, here, seed=seed, hooks=hooks)
    bar.close(fitted.stopped)
    generator.load_state_dict(fitted.state)
    metric = float("nan") if val is None else fitted.best_metric
    return Fitted(generator, train, options, seed, fitted.best_kimg, metric, fitted.stopped)


def _whole(value: Any, least: int, what: str) -> int:
    """A whole number, also of NumPy; UserError for another type and for one below `least`."""
    number = operator.index(value) if hasattr(value, "__index__") else least - 1
    if isinstance(value, bool) or number < least:
        raise UserError(f"{what} must be a whole number of {least} or more; got {value!r}")
    return number


def _check_train(train: ImageSet) -> None:
    """UserError if a generator cannot learn from a set."""
    if not len(train):
        raise UserError("train has no images")
    n, channels, height, width = train.images.shape
    if channels not in (1, 3) or height != width:
        axes = ": move the channels with images.transpose(0, 3, 1, 2)" if width in (1, 3) else ""
        raise UserError(
            f"train must be square images of 1 or 3 channels, (N,C,H,W); got {(n, channels, height, width)}{axes}"
        )
    repeated = [name for name in train.classes if train.classes.count(name) > 1]
    if repeated:
        raise UserError(f"train has two classes {repeated[0]!r}")
    if same := n - train.table["id"].nunique():
        raise UserError(f"train has {several(same, 'image')} with the id of another; ids must be unique")


def _generator_options(config: GeneratorConfig | Mapping[str, Any]) -> GeneratorConfig:
    """Validated options of a family; UserError for what `fit` cannot do with them."""
    try:
        options: GeneratorConfig = TypeAdapter(AnyGenerator).validate_python(config)
        options.check_used()
    except ValidationError as error:
        raise UserError(explain(error)) from None
    except ValueError as error:
        raise UserError(str(error)) from None
    if options.external:
        raise UserError(
            f"{options.kind} reads its images from a source, which a run compares with val and test; use it in a config"
        )
    if options.start:
        raise UserError(
            "start is done by a run and by `augpipe train`, not by fit; remove it, or train with one of them"
        )
    if options.pretrain:
        raise UserError(
            "pretrain is done by a run and by `augpipe train`, not by fit; remove it, or train with one of them"
        )
    return options


def _check_val(train: ImageSet, val: ImageSet) -> None:
    """UserError if a checkpoint of a training on train cannot be selected by val.

    This is the leak guard of `fit`, which knows no test set: there are no sources and no split that
    `Prepared.refuse_leaks` could compare with. Ids and groups are not compared, because a set made of arrays may number
    its images from 0, as the other one does.
    """
    if val.classes != train.classes:
        raise UserError(
            f"val must have the classes of train in their order, {choices(train.classes)}; got {choices(val.classes)}"
        )
    if val.spec != train.spec:
        raise UserError(f"val must have images of train's shape {train.spec.shape}; got {val.spec.shape}")
    if not len(val):
        raise UserError("val has no images; leave it out to keep the last checkpoint")
    keys = {tuple(digest) for digest in train.digests.tolist()}
    shared = sum(tuple(digest) in keys for digest in val.digests.tolist())
    if shared:
        raise UserError(
            f"{several(shared, 'image')} of val {'is' if shared == 1 else 'are'} also in train, pixel by pixel; the "
            "checkpoint would be selected by images that it has learnt; leave them out of one of the two"
        )


class _Last:
    """A metric that falls at every call, so that the last checkpoint is the best."""

    def __init__(self) -> None:
        self._value = 0.0

    def __call__(self, current: Generator) -> float:
        self._value -= 1.0
        return self._value


def synthesize(fitted: Fitted, fill: str | int | float | Mapping[str, int] = "auto", *, seed: int = 0) -> ImageSet:
    """Sample images from a trained generator, with ids, and with parents if the family derives them from train images.

    fill: how many synthetic images of each class, as in an arm's mix: `auto` fills every class up to the largest, a
    whole number is the count of each class, a fraction in (0, 1] fills up to that part of the largest class, a mapping
    gives counts by class name. UserError for anything else and for `search`, if no class gets an image, and if one does
    of which train has none.
    """
    if fill == "search":
        raise UserError(
            "fill 'search' is chosen on val by a run; synthesize takes 'auto', 'all', a number or a mapping"
        )
    train, seed = fitted.train, _whole(seed, 0, "a seed")
    have = train.counts()
    counts = plan(fill, have, train.classes)
    if not sum(counts.values()):
        raise UserError(f"fill {fill!r} asks for no image; train has {_shown(train)}")
    empty = [train.classes[label] for label, n in counts.items() if n and not have[label]]
    if empty:
        raise UserError(
            f"class {empty[0]!r} has no training image, so the generator has not learnt it; choose from "
            f"{choices(name for label, name in enumerate(train.classes) if have[label])}"
        )
    with scratch("augpipe-synthetic") as folder:
        sampled = draw.sample(fitted.generator, counts, train, name=fitted.config.kind, seed=seed, store=Store(folder))
        stored = load_images(sampled.images)
        return ImageSet(stored.images.copy(), stored.labels, stored.classes, stored.table)


def _shown(train: ImageSet) -> str:
    """`3 of 'a', 2 of 'b'`."""
    return choices(f"{n} of {train.classes[label]!r}" for label, n in train.counts().items())


def _kid(train: ImageSet, val: ImageSet, runtime: device.Runtime, seed: int) -> Validate:
    """Class-wise KID against val, in the features of a classifier of real images."""
    splits = Splits(train, val, val)
    reference = fit_reference(splits, ClassifierOptions(), runtime, seed=entropy(seed, "domain"))
    return validation(reference, train, val, runtime, seed)
