"""Options of all generator families. Options of one family are the `Config` in its file in `models/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field, SerializeAsAny, model_validator

from augpipe.core.schema import KindConfig, Strict, by_kind, refuse_changed
from augpipe.data.sources import Source

FAMILIES: Final = "augpipe.generators.models"
CLOSED_SET: Final = "closed set"
OWN_IMAGES: Final = "own images"
OTHER_SET: Final = "other set"
TRAINING: Final = ("batch", "ticks", "patience", "collapse", "together")


class Start(Strict):
    """Training on another set, before that on the experiment's."""

    source: Source | None = None
    """Where the images of the other set are: a mapping of `kind` and its options, as for the experiment's `source`.
    Copies of images of val and test are left out. Its classes need not be those of the experiment."""

    kimg: float | None = Field(default=None, gt=0)
    """Training budget on the other set, in thousands of images shown. null: as large as the generator's `kimg`."""


class GeneratorConfig(KindConfig):
    """Options of all families; each family adds its own."""

    # Whether images come from a trained model; False for a baseline that only interpolates.
    generative: ClassVar[bool] = True
    # Whether images are derived from single train images (`Deriving`), which a logged model must then contain.
    derives: ClassVar[bool] = False
    # Whether images are read from the option `source`, which a logged model must then contain (`Finite`).
    external: ClassVar[bool] = False
    # Why its latents cannot be truncated, or its images not exported as one network; "" if they can, or if that depends
    # on options.
    not_truncated: ClassVar[str] = ""
    not_exported: ClassVar[str] = ""
    # What a classifier of its images learns from: train alone, or images from elsewhere as well.
    knowledge: ClassVar[str] = CLOSED_SET
    # Whether no weight belongs to a class, so that it can draw images of a set that it was not trained on.
    class_free: ClassVar[bool] = False

    kimg: float = Field(default=60.0, ge=0)
    """Training budget, in thousands of real images shown."""

    batch: int = Field(default=100, ge=2)
    """Real images per training step."""

    ticks: int = Field(default=6, ge=1)
    """Number of validations (with previews), evenly spaced over the budget; the best checkpoint is kept."""

    patience: int | None = Field(default=5, ge=1)
    """Stop training after this many ticks without an improvement. null: use the whole budget."""

    collapse: float = Field(default=0.1, ge=0, lt=1)
    """A class is collapsed if its diversity falls below this fraction of the real images' diversity."""

    together: int = Field(default=1, ge=1, le=64)
    """Consecutive images of the same class in a batch. Minibatch standard deviation needs several (the paper: 4)."""

    start: Start | None = None
    """First train on another set, then go on with all weights that do not belong to a class. null: do not."""

    per_class: bool = False
    """Train one model per class instead of one for all classes."""

    pretrain: float = Field(default=0.0, ge=0)
    """With `per_class`: first train a common model on this many thousand images of all classes. 0: do not."""

    pretrain_below: int = Field(default=200, ge=1)
    """Models of classes with fewer train images than this start from the `pretrain` model."""

    @model_validator(mode="after")
    def _has_budget(self) -> GeneratorConfig:
        if not self.kimg and type(self).model_fields["kimg"].default and not (self.start and self.class_free):
            raise ValueError(f"kimg: 0 would draw from an untrained {self.kind}; set it above 0")
        return self

    @model_validator(mode="after")
    def _check_per_class(self) -> GeneratorConfig:
        if self.pretrain and not self.per_class:
            raise ValueError("pretrain initialises the models of single classes: set per_class: true")
        if self.per_class and not self.is_trained():
            raise ValueError(f"{self.kind} trains no model: set per_class: false")
        if self.start and (self.per_class or not self.is_trained()):
            why = "trains no model" if not self.is_trained() else "with per_class has no model for all classes"
            raise ValueError(f"start: {self.kind} {why}; remove start")
        if self.start and not (self.start.kimg or self.kimg):
            raise ValueError("start.kimg: give the budget on the other set, as kimg is 0")
        return self

    @classmethod
    def is_trained(cls) -> bool:
        """Whether a model is trained here."""
        return cls.generative and not cls.external

    @property
    def draws_from_images(self) -> bool:
        """Whether it draws from stored images, of train or of its source: a model's file must contain them."""
        return self.derives or self.external

    @property
    def learns_from(self) -> frozenset[str]:
        """What a classifier of its images learns from."""
        return frozenset({self.knowledge, *([OTHER_SET] if self.start else [])})

    @property
    def start_kimg(self) -> float:
        """Budget on the other set; 0 without one."""
        return 0.0 if self.start is None else self.start.kimg or self.kimg

    def of_checkpoint(self) -> GeneratorConfig:
        """The options that its images depend on, which a checkpoint contains: wherever the other set was read from."""
        if self.start is None:
            return self
        return self.model_copy(update={"start": self.start.model_copy(update={"source": None})})

    def check_used(self) -> None:
        """ValueError for an option without effect. No validator: the models of earlier runs load with their options."""
        if self.start is not None and self.start.source is None:
            raise ValueError("start.source: give another set, such as {kind: folder, path: other-pictures}")
        if self.start is not None and getattr(self.start.source, "shift", None) is not None:
            raise ValueError("start.source.shift: a second test set has no effect here; remove it")
        for name, why in self.without_effect():
            refuse_changed(self, [name], f"{why}; remove it")

    def warnings(self, counts: Mapping[int, int]) -> Iterator[str]:
        """What a user should know before it trains on so many images of each class; a family may add some."""
        yield from ()

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options that nothing reads with the values of the others, and why; a family adds its own."""
        if not self.is_trained():
            yield from ((name, f"on {self.kind}, which is not trained") for name in TRAINING)
        if not self.pretrain:
            yield "pretrain_below", "with pretrain: 0"


AnyGenerator = Annotated[SerializeAsAny[GeneratorConfig], by_kind(FAMILIES, "generator")]
