"""Options of an arm's training set (`mix`) and of the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from augpipe.classifiers.heads import AnyHead, OfFeatures, TauNormalised
from augpipe.classifiers.losses import AnyLoss, CrossEntropy
from augpipe.classifiers.plans import By, Fill, Share
from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.registry import registered_in
from augpipe.core.schema import Strict, refuse_changed
from augpipe.core.yaml_loader import SHOWN, read_json, read_yaml

Weighting = Literal["none", "balanced", "effective"]
# Names of the functions in `models` and `transforms`, which import torch.
CLASSIFIERS: Final = registered_in(Path(__file__).with_name("models.py"), "classifiers.register")
TRANSFORMS: Final = registered_in(Path(__file__).with_name("transforms.py"), "policies.register")
UNNORMED: Final = ("convnext_tiny",)  # architectures without batch norms
WITH_WIDTH: Final = ("small_cnn", "resnet32")  # architectures with a width, and without published weights
TRANSFORM_FILES: Final = (".json", ".yaml", ".yml")
SYMMETRIES: Final = ("fliplr", "flipud", "rot180", "rot90")  # after a transform's name: `elastic+fliplr`


def _transform(value: Any) -> Any:
    """A name, or a pipeline as plain values. Files are read here, so that the experiment contains their content."""
    if isinstance(value, str) and value.lower().endswith(TRANSFORM_FILES):
        return _read(Path(value))
    if value is not None:
        _check_transform(value)
    return value


def _read(path: Path) -> Any:
    """The transform in a file; a mistake in it comes with the file's name."""
    where = f"the transform {path}"
    read = read_json if path.suffix.lower() == ".json" else read_yaml
    try:
        value = read(path.read_text(encoding="utf-8"), where)
    except UnicodeDecodeError:
        raise UserError(f"cannot read {where}: it is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {where}: {error.strerror or error}") from None
    try:
        _check_transform(value)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return value


def _check_transform(value: Any) -> None:
    """UserError for anything but a known name or a pipeline that albumentations can build."""
    if isinstance(value, str):
        name, *symmetries = value.split("+")
        if name not in TRANSFORMS:
            raise unknown("transform", name, TRANSFORMS)
        for symmetry in symmetries:
            if symmetry not in SYMMETRIES:
                raise unknown("symmetry of a transform", symmetry, SYMMETRIES)
    elif isinstance(value, Mapping):
        from augpipe.classifiers.pipelines import check_pipeline  # imports albumentations: only if needed

        check_pipeline(value)
    else:
        raise UserError(
            f"a transform must be a name, a file or a mapping; got {repr(value)[:SHOWN]}; names: {choices(TRANSFORMS)}"
        )


AnyTransform = Annotated[str | Mapping[str, Any] | None, BeforeValidator(_transform)]


class Prefer(Strict):
    """Synthetic images that a curation check rates higher (or lower) are drawn more often."""

    check: str
    """Name of one of `curation.checks`. An image is drawn in proportion to its value in this check, to the power
    `power`."""

    power: float = Field(default=1.0, ge=-10, le=10)
    """Exponent of the check's value, not 0. For `agreement`: above 0 prefers images that the real-only classifier is
    sure of, below 0 images near its decision boundary. For `realism`: below 0 prefers regions where real images are
    rare."""

    @model_validator(mode="after")
    def _power_has_effect(self) -> Prefer:
        if not self.power:
            raise ValueError("prefer.power: 0 has no effect; remove prefer")
        return self


class Beside(Strict):
    """Synthetic images used at test time: features are averaged with those of near synthetic images.

    Applies to the scores alone. The best checkpoint, a search on val and the logged model do without it.
    """

    k: int = Field(default=5, ge=1, le=1000)
    """Number of nearest synthetic images of any class, by Euclidean distance of the classifier's penultimate
    features."""

    weight: float = Field(default=0.3, gt=0, le=1)
    """The features become `1 - weight` of the image's features plus `weight` of the mean of its k neighbours'."""


class Mix(Strict):
    """What the classifier of an arm is trained on."""

    fill: Fill = "auto"
    """Synthetic images per class. `auto` (= `not majority`), `minority`, `not minority`, `all`: these classes are
    filled up to the largest one; a float in (0, 1]: every class up to that fraction of the largest; an int, or a
    mapping of class to int: so many; `search`: as `auto`, and the fraction used is chosen on val; `{by: [class,
    scanner]}`: every combination of class and value of these `source.attributes` up to the largest one, by a generator
    that is trained on the combinations."""

    share: Share = "fill"
    """Probability that an image drawn from a class with synthetic images is synthetic: a number in [0, 1], or a mapping
    of class to number (0 for classes not named). `fill`: their fraction in the pool; `auto`, `per_class`: chosen on
    val. A share below 1 is lowered where few images exist, so that none is drawn over 10 times as often as a real
    one."""

    sampler: Literal["natural", "sqrt", "balanced"] = "natural"
    """How often each class is drawn: in proportion to its images (`natural`, synthetic ones included), to their square
    root (`sqrt`), or all classes equally (`balanced`)."""

    loss: AnyLoss = CrossEntropy()
    """Loss function: a name, or a mapping of `kind` and its options."""

    weights: Weighting = "none"
    """Class weights in the loss. `balanced`: 1 / (classes * class frequency) (King & Zeng 2001). `effective`: by the
    effective number of images (Cui et al. 2019)."""

    defer: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of training after which `weights` apply (deferred re-weighting, Cao et al. 2019)."""

    until: float = Field(default=1.0, gt=0, le=1)
    """Fraction of training after which only real images are drawn. With `share: 1`, synthetic images serve for
    pretraining."""

    synthetic_weight: float = Field(default=1.0, gt=0, le=100)
    """Weight of a synthetic image in the loss; a real image has 1."""

    blend: Literal["none", "mixup", "cutmix"] = "none"
    """Mix pairs of images: MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019)."""

    alpha: float | None = Field(default=None, gt=0, le=100)
    """The mixing ratio of `blend` is drawn from Beta(alpha, alpha) for each pair. null: as in the papers, 0.2 for
    `mixup` and 1 for `cutmix`."""

    norms_apart: bool = False
    """Separate batch norms for synthetic images; at test only those of real images are used (Xie et al. 2020)."""

    prefer: Prefer | None = None
    """Draw some synthetic images more often than others, by the value of a curation check. null: all equally often."""

    soft: float = Field(default=0.0, ge=0, le=1)
    """Soft labels of synthetic images: with this probability the label is drawn from the real-only classifier's
    prediction instead of the class that the image was made for; drawn anew each time."""

    beside: Beside | None = None
    """Use synthetic images at test time. null: no."""

    transform: AnyTransform = None
    """Classical augmentation of every image drawn: a name, or an albumentations pipeline as a mapping or as the path of
    a JSON or YAML file. null: none. Names may have symmetries, as in `elastic+fliplr+rot90`: left-right mirrors
    (`fliplr`), up-down mirrors (`flipud`), half turns (`rot180`), quarter turns (`rot90`), each as often as not."""

    head: AnyHead | None = None
    """Replace the last layer after the training, by one that is fitted to the features of the real train images: a
    name, or a mapping of `kind` and its options. null: the trained one stays."""

    origin_flag: bool = False
    """Give the classifier one more input channel: 1 for synthetic images, 0 for real ones and at test (Antoniou et al.
    2017)."""

    curated: bool | None = None
    """Whether synthetic images must pass the checks of `curation`. null: only those of trained generators."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that `fill` evens out besides the class; empty: none."""
        return self.fill.attributes if isinstance(self.fill, By) else ()

    @property
    def searches(self) -> bool:
        """Whether an option is chosen on val."""
        return self.share in ("auto", "per_class") or self.fill == "search"

    @model_validator(mode="after")
    def _options_have_effect(self) -> Mix:
        if self.defer and self.weights == "none":
            raise ValueError(f"defer: {self.defer:g} has no effect with weights: none")
        if self.alpha is not None and self.blend == "none":
            raise ValueError(f"alpha: {self.alpha:g} has no effect with blend: none")
        if self.norms_apart and self.blend != "none":
            raise ValueError("norms_apart: true needs blend: none, since a blended image is neither real nor synthetic")
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Mix:
        if isinstance(self.head, OfFeatures) and self.transform is None:
            refuse_changed(self.head, ["views"], "with transform: null")
        if isinstance(self.head, TauNormalised) and self.loss.scale is not None:
            raise ValueError(
                f"head: tau scales the weights of a linear head, and loss: {self.loss.kind} trains a cosine head, of "
                "which only directions count; set the loss's scale to null, or choose another head"
            )
        return self


def _known(kind: str) -> str:
    if kind not in CLASSIFIERS:
        raise unknown("classifier", kind, CLASSIFIERS)
    return kind


class ClassifierOptions(Strict):
    """The classifier and its training; the same for every arm."""

    kind: Annotated[str, AfterValidator(_known)] = "small_cnn"
    """Architecture: `augpipe list classifiers` prints all."""

    width: float = Field(default=1.0, gt=0, le=16)
    """Multiple of the channels of `small_cnn` and `resnet32`; must be 1 for torchvision's architectures."""

    steps: int = Field(default=600, ge=1)
    """Number of training steps."""

    batch: int = Field(default=64, ge=2)
    """Images per step."""

    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak of the one-cycle schedule (Smith & Topin 2018) of AdamW."""

    weight_decay: float = Field(default=5e-4, ge=0)
    """Weight decay of AdamW."""

    evaluations: int = Field(default=10, ge=1)
    """Evaluations on val, evenly over the steps, at most one a step; the best checkpoint is kept."""

    pretrained: bool = False
    """Start from torchvision's published ImageNet weights."""

    def check_used(self) -> None:
        """ValueError for an option without effect. No validator: the models of earlier runs load with their options."""
        if self.kind not in WITH_WIDTH:
            refuse_changed(self, ["width"], f"with kind: {self.kind}; set width: 1, or remove it")
        default = type(self).model_fields["evaluations"].default
        if self.evaluations > self.steps and self.evaluations != default:
            raise ValueError(
                f"evaluations: {self.evaluations} is more than steps: {self.steps}; set it to at most {self.steps}"
            )

    @model_validator(mode="after")
    def _has_published_weights(self) -> ClassifierOptions:
        if self.pretrained and self.kind in WITH_WIDTH:
            have = [kind for kind in CLASSIFIERS if kind not in WITH_WIDTH]
            raise ValueError(
                f"no published weights of {self.kind}; choose from {choices(have)}; or set pretrained: false"
            )
        return self
