"""Records passed between stages: small frozen models of values and Refs, never tensors or image sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, Field

from augpipe.classifiers.options import Mix
from augpipe.classifiers.plans import Share
from augpipe.core.image_spec import ImageSpec
from augpipe.core.refs import Ref, SplitRefs
from augpipe.generators.options import OTHER_SET
from augpipe.generators.protocol import Problem

if TYPE_CHECKING:
    from augpipe.core.images import ImageSet

ATTRIBUTE: Final = "attribute "  # before the names of attributes, as columns of `Prepared.attributes`


class Record(BaseModel, frozen=True):
    """A stage's result. uncounted: fields that do not change what later stages compute from it."""

    uncounted: ClassVar[frozenset[str]] = frozenset({"time"})


class Timed(BaseModel, frozen=True):
    """When a stage began (seconds since 1970) and how long it took (seconds)."""

    began: float
    seconds: float


class IntakeRecord(BaseModel, frozen=True):
    """What was read from the source and what was left out."""

    fingerprint: str  # of the source's images alone
    images: int
    quarantined: int
    removed: int  # duplicates of images in a later split
    near_copies: float = 0.0  # fraction of test with a near copy in train or val
    ignored: Mapping[str, int]  # suffix → number of files that are not pictures
    split: str
    groups: int | None
    notes: tuple[str, ...]
    limits: tuple[str, ...] = ()  # what was not checked; in the report alone


class CellSplits(BaseModel, frozen=True):
    """The splits, labelled by cells of class and attributes (see `data.cells`).

    by: the attributes. classes: names of the cells. class_of: class of each. known: whether it has no missing value.
    """

    by: tuple[str, ...]
    classes: tuple[str, ...]
    class_of: tuple[int, ...]
    known: tuple[bool, ...]
    counts: Mapping[str, Mapping[int, int]]
    splits: SplitRefs


class Prepared(Record, frozen=True):
    """The three splits of a source, with the number of images of each class.

    For a generator of cells (see `by`) the classes are the cells, and class_of has the class of each.
    """

    uncounted = frozenset(
        {"fingerprint", "torn_groups", "intake", "quarantine", "attributes", "cells", "shift", "external"}
        | {"starts", "time"}
    )

    data: Ref  # the images of all splits
    splits: SplitRefs
    classes: tuple[str, ...]
    size: int
    channels: int
    counts: Mapping[str, Mapping[int, int]]
    fingerprint: str
    torn_groups: bool = False  # whether groups may be divided between the splits
    intake: IntakeRecord
    quarantine: Ref  # id, class, what, reason
    attributes: Ref | None = None  # split, id, a column of each attribute
    cells: tuple[CellSplits, ...] = ()  # of each fill by attributes
    class_of: tuple[int, ...] = ()
    shift: Ref | None = None  # the second test set
    external: Mapping[str, Ref] = Field(default_factory=dict)  # generator → its images, which were made elsewhere
    starts: Mapping[str, Ref] = Field(default_factory=dict)  # generator → the other set that it is trained on first
    time: Timed

    def cells_by(self, attributes: tuple[str, ...]) -> CellSplits:
        """The cells of class and these attributes; StopIteration if no fill names them."""
        return next(one for one in self.cells if one.by == attributes)

    def by(self, attributes: tuple[str, ...]) -> Prepared:
        """The same images with the cells of class and these attributes in place of classes; unchanged without any."""
        if not attributes:
            return self
        cells = self.cells_by(attributes)
        values = {name: getattr(cells, name) for name in ("classes", "class_of", "counts", "splits")}
        return self.model_copy(update={**values, "cells": ()})

    @property
    def problem(self) -> Problem:
        """Image shape and classes of a generator."""
        return Problem(ImageSpec(self.size, self.channels), self.classes)

    def refuse_leaks(self, learned: ImageSet, what: str, *, anonymous: bool = False) -> None:
        """LeakError if `learned` holds, or was made from, an image of val or test or of their groups; called before
        each training.

        anonymous: its ids are numbers of rows, which say nothing of groups, so that only pixels and parents count.
        """
        from augpipe.core.store import load_images  # imports torch, which a key is computed without
        from augpipe.data import leaks

        held_out = {side: load_images(getattr(self.splits, side)) for side in ("val", "test")}
        leaks.check(learned, load_images(self.data), held_out, what, torn_groups=self.torn_groups or anonymous)


class TrainingSpec(Record, frozen=True):
    """One training of a generator: of all classes, or with `label` of a single class (`per_class`).

    pooled: one model of all classes without labels, from which models of single classes start.
    devices: processes that train it together, each with its own device.
    images: those that a generator of images made elsewhere draws from, or the other set.
    other: a model of all classes of the other set, from which the generator starts.
    folder: where the training keeps its own checkpoint; in the store by default.
    """

    uncounted = frozenset({"folder", "class_name", "devices"})  # devices: see `cache.dependencies`

    name: str  # of the generator in the experiment
    seed: int
    label: int | None = None
    pooled: bool = False
    other: bool = False
    devices: int = 1
    images: Ref | None = None
    folder: Path | None = None
    class_name: str = ""

    @property
    def class_model(self) -> str:
        """See `TrainedGenerator`."""
        if self.other:
            return OTHER_SET
        return "all" if self.pooled else self.class_name

    @property
    def scope(self) -> str:
        """`class x, `, `all classes, `, or an empty string for a joint generator."""
        if self.other:
            return f"{OTHER_SET}, "
        if self.pooled:
            return "all classes, "
        return f"class {self.class_name}, " if self.label is not None else ""


class TrainedGenerator(Record, frozen=True):
    """A generator at its best checkpoint on val, its history, and grids with fixed latents.

    kind: its family. class_model: the class of a model of one class, "all" for the pooled model that others start from,
    "other set" for the model of that; "" for a joint generator. class_of: class of each label, of a generator of cells
    (see `Prepared.by`).
    """

    uncounted = frozenset({"history", "previews", "samples", "learned", "time"})

    name: str
    kind: str
    seed: int
    class_model: str = ""
    class_of: tuple[int, ...] = ()
    checkpoint: Ref
    history: Ref  # kimg, seconds, metric, value
    previews: tuple[tuple[float, Ref], ...]
    samples: Ref
    learned: Ref  # the train set, which a generator that derives images needs again
    best_kimg: float
    best_metric: float
    stopped: str
    time: Timed

    @property
    def scope(self) -> str:
        """`class x, ` of a per-class model, otherwise an empty string."""
        if self.class_model == OTHER_SET:
            return f"{OTHER_SET}, "
        return f"class {self.class_model}, " if self.class_model else ""

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules, besides the stage's own, whose code draws from the checkpoint."""
        return (f"augpipe.generators.models.{self.kind}",)


class Synthetic(Record, frozen=True):
    """Images of one generator and seed for one plan, after curation.

    checks: id, and each check's value, a row per image. funnel: generator, class, check, seen, passed. short: class →
    images missing from the plan, for classes where any are.
    """

    images: Ref
    checks: Ref
    funnel: Ref
    short: Mapping[int, int]
    time: Timed


class Measured(Record, frozen=True):
    """table: of `fidelity.COLUMNS`. gallery: image set of synthetic, nearest train, nearest val image, in triples."""

    table: Ref
    gallery: Ref
    time: Timed


class Choice(Record, frozen=True):
    """Result of the search on val for one arm and seed; steps: training steps of the search.

    share: a number, or one per class. part: of the synthetic images. table: rung, share (as text), part, steps,
    val_macro_recall, val_loss, stayed; a row per attempt.
    """

    share: Share
    part: float
    steps: int
    table: Ref
    time: Timed


class Tried(Record, frozen=True):
    """A candidate of a search on val: macro recall, loss, and recall of each class that has synthetic images."""

    recall: float
    loss: float
    of_class: Mapping[str, float]


class Recipe(Record, frozen=True):
    """What an arm's classifier is trained on: image sets, mix, and the counts and shares that result.

    soft_labels: state with `probabilities` float32 (N,K) of the reference classifier for each synthetic image. mix:
    with the chosen share. drawn: digest of the synthetic set before any image was left out or weighted. funnel:
    generator, class, check, seen, passed, a mapping per row.
    """

    uncounted = frozenset(
        {
            "chosen",
            "real_count",
            "synthetic_count",
            "made_by",
            "class_probability",
            "class_share",
            "synthetic_share",
            "synthetic_ratio",
            "drawn",
            "short",
            "funnel",
        }
    )

    real: Ref
    synthetic: Ref | None
    soft_labels: Ref | None
    mix: Mix
    chosen: Mapping[str, Any] | None  # share, part and steps of the search
    real_count: tuple[int, ...]
    synthetic_count: tuple[int, ...]
    made_by: Mapping[str, int]  # generator → images
    class_probability: tuple[float, ...]
    class_share: tuple[float, ...]
    synthetic_share: float
    synthetic_ratio: float
    drawn: str | None
    short: Mapping[str, int]  # class name → missing images
    funnel: tuple[Mapping[str, Any], ...]


class TrainedClassifier(Record, frozen=True):
    """A classifier at its best evaluation on val."""

    arm: str
    seed: int
    state: Ref
    history: Ref  # step, metric, value
    best_step: int
    time: Timed


class Scored(Record, frozen=True):
    """Scores on val and test, and the probabilities they were computed from; also of the second test set, if any."""

    arm: str
    seed: int
    table: Ref  # split, metric, class, value
    probabilities: Ref
