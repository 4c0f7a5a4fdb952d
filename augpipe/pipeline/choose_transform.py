"""Choose the transform of the arms called classic on train and val: a policy, and the mirrors and turns that keep
the class.

Small classifiers are trained on at most TRAIN pictures of train, at most SIDE pixels wide, each with a policy and
without mirrors, and predict val. A mirror or turn is used if the predictions of val's pictures are as good after it
(`symmetries.class_loss`); another policy than the default if it predicts better.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.symmetries import ELEMENTS, GROUPS, Loss, Values, class_loss, largest_group
from augpipe.classifiers.trained import predict
from augpipe.core.device import start
from augpipe.core.errors import RunError
from augpipe.core.files import scratch
from augpipe.core.images import ImageSet
from augpipe.core.machine import cores
from augpipe.core.processes import ignore_terminal
from augpipe.core.store import load_images
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.suggestion import POLICY, Transform

OTHERS: Final = ("light", "medical")  # policies without mirrors
WITH_MIRRORS: Final = "faces"  # has left-right mirrors of its own
TRAIN, VAL = 2000, 1000  # pictures at most
SIDE: Final = 32  # pixels at most
CLASSIFIER: Final = ClassifierOptions(width=0.25, steps=150, evaluations=2)
AT_ONCE: Final = 4  # processes at most
ERRORS: Final = 2.5  # standard errors by which another policy has to be better: up to four are compared
NAMES: Final = {
    "fliplr": "left-right mirrors",
    "flipud": "up-down mirrors",
    "rot180": "half turns",
    "rot90": "quarter turns",
}


@dataclass(frozen=True)
class Trial:
    """Predictions of val by a classifier that was trained with a transform.

    true: probability of the true class (N,). right: whether the class is predicted (N,). changed: `true` after each of
    `symmetries.ELEMENTS`.
    """

    transform: str
    true: Values
    right: Values
    changed: dict[str, Values]


def choose_transform(experiment: Experiment, *, policies: bool) -> Transform:
    """The transform for the pictures of an experiment, and why.

    policies: whether policies besides the default are tried. Reads the pictures, as the run will, into a folder that is
    deleted. Raises UserError for what is wrong with them.
    """
    with scratch("augpipe-plan") as folder:
        prepared = prepare(Context(root=folder), experiment)
        whole = load_images(prepared.splits.train)
        prepared.refuse_leaks(whole, "a classifier that tries transforms")
        train = _small(whole, TRAIN)
        val = _small(load_images(prepared.splits.val), VAL)
    plain, *others = _trials([POLICY, *(OTHERS if policies else ())], train, val)
    losses = {name: class_loss(plain.true, of, val.labels, len(val.classes)) for name, of in plain.changed.items()}
    symmetries = largest_group({name: loss.passed for name, loss in losses.items()})
    best, ending = _better(plain, others, val.labels), "".join(f"+{name}" for name in symmetries)
    why = "; ".join(_about_symmetries(plain, losses, symmetries, val))
    if not policies:
        return Transform(POLICY + ending, why)
    tried = [POLICY, *OTHERS]
    if symmetries:
        names = [best.transform + ending]
        if "fliplr" in symmetries:
            tried.append(WITH_MIRRORS)
            names.append(WITH_MIRRORS + ending.replace("+fliplr", ""))
        mirrored, *others = _trials(names, train, val)
        # Symmetries that keep the class stay, unless the classifier learns less with them.
        best = _better(_better(mirrored, [best], val.labels), others, val.labels)
    return Transform(best.transform, f"{why}; {_about_policies(best.transform, tried)}")


def seconds(step: float, batch: float, size: int, *, policies: bool) -> float:
    """Expected seconds of `choose_transform` besides reading the pictures.

    step, batch: seconds of a step of the run's classifier, and of a batch drawn, at this size.
    """
    each = CLASSIFIER.steps * (step * (min(SIDE, size) / size) ** 2 + batch)
    rounds = 1 + policies * (-(-len(OTHERS) // min(cores(), AT_ONCE)) + 1)
    return rounds * each


def _small(images: ImageSet, most: int) -> ImageSet:
    """At most `most` images, as many of each class as there are or of the largest ones alike, SIDE pixels at most."""
    rows = [np.flatnonzero(images.labels == c) for c in range(len(images.classes))]
    sizes = np.sort([len(of) for of in rows])
    limit = next((k for k in range(int(sizes[-1]), 0, -1) if np.minimum(sizes, k).sum() <= most), 1)
    chosen = np.sort(np.concatenate([of[np.linspace(0, len(of) - 1, min(limit, len(of))).astype(int)] for of in rows]))
    part = images.take(chosen.astype(np.int64))
    if images.spec.size <= SIDE:
        return part
    pixels = F.interpolate(torch.from_numpy(part.images).float(), (SIDE, SIDE), mode="area")
    return ImageSet(pixels.round().to(torch.uint8).numpy(), part.labels, part.classes, part.table)


def _trials(transforms: Sequence[str], train: ImageSet, val: ImageSet) -> list[Trial]:
    """Train and predict with each transform, in processes of their own: the thread settings of this one stay."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    n = min(len(transforms), cores(), AT_ONCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks with threads that only wait
        try:
            with ProcessPoolExecutor(n, context, _ignore_signals) as pool:
                return list(pool.map(_trial, transforms, *([value] * len(transforms) for value in (train, val))))
        except BrokenProcessPool:
            raise RunError("a process that tried transforms for the plan ended") from None


def _ignore_signals() -> None:
    ignore_terminal()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _trial(transform: str, train: ImageSet, val: ImageSet) -> Trial:
    runtime = start("cpu", "32-true", 1)
    batches = Mixture(train, None, Mix(sampler="balanced", transform=transform), runtime, seed=0)
    trained = classification.train(batches, val, CLASSIFIER, runtime, seed=0)
    rows = np.arange(len(val))

    def probabilities(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict(trained, ImageSet(images, val.labels, val.classes, val.table), runtime)

    before = probabilities(val.images)
    changed = {}
    for name, change in ELEMENTS.items():
        images = change(torch.from_numpy(val.images)).contiguous().numpy()
        changed[name] = probabilities(images)[rows, val.labels].astype(np.float64)
    right = (before.argmax(1) == val.labels).astype(np.float64)
    return Trial(transform, before[rows, val.labels].astype(np.float64), right, changed)


def _better(usual: Trial, others: Sequence[Trial], labels: NDArray[np.int64]) -> Trial:
    """The one of `others` with the highest macro recall, if it is above the usual one's by ERRORS; else the usual."""

    def gain(other: Trial) -> tuple[float, float]:
        difference = other.right - usual.right
        of_class = [difference[labels == c] for c in np.unique(labels)]
        error = np.sqrt(sum(of.var() / len(of) for of in of_class)) / len(of_class)
        return float(np.mean([of.mean() for of in of_class])), float(error)

    best = max(others, key=lambda other: gain(other)[0], default=usual)
    mean, error = gain(best)
    return best if mean > ERRORS * error else usual


def _about_symmetries(trial: Trial, losses: Mapping[str, Loss], used: tuple[str, ...], val: ImageSet) -> Iterator[str]:
    """The symmetries that are used and those that are not, with the probability of the true class on val."""
    labels, n_classes = val.labels, len(val.classes)
    known = float(np.mean([trial.true[labels == c].mean() for c in np.unique(labels)]))
    after = {name: f"{text} {known - losses[name].mean:.3f}" for name, text in NAMES.items()}
    members = [name for name in NAMES if name in GROUPS[used]]
    passed = [name for name in NAMES if name not in members and losses[name].passed]
    rest = [name for name in NAMES if name not in members and name not in passed]
    yield f"probability of the true class on val {known:.3f}, by chance {1 / n_classes:.3f}"
    if (limit := next(iter(losses.values())).limit) <= 0:
        yield "no mirror or turn can be shown to keep the class"
        return
    bound = f"{known - limit:.3f}"
    if members:
        yield f"shown to stay above {bound} with {', '.join(after[name] for name in members)}"
    if passed:
        yield f"also with {', '.join(after[name] for name in passed)}, not used as combinations with these do not"
    if rest:
        yield f"not used, as not shown to stay above {bound} in all classes: {', '.join(after[name] for name in rest)}"


def _about_policies(name: str, tried: Sequence[str]) -> str:
    policy = name.partition("+")[0]
    others = ", ".join(of for of in tried if of != policy)
    return f"on val {'no worse' if policy == POLICY else 'better'} than {others}"
