"""Heads that replace a trained classifier's last layer, each with its options: rebalancing in feature space.

The classifier is trained as without the head; its features of real images are then computed once, and the head is
fitted to them, which takes seconds. Nothing is generated as an image. `head: crt` and `head: {kind: crt}` are the same.
`head_fits` fits them; here are options alone, so that neither configs nor stages that only carry them depend on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from augpipe.core.registry import Registry
from augpipe.core.schema import OneOf, Strict


class Head(Strict):
    """A head and its options."""

    kind: str
    """Name of the head."""


class OfFeatures(Head):
    """A head that is fitted to the features of train images."""

    views: int = Field(default=4, ge=1, le=100)
    """How often each train image is shown, with the arm's `transform` each time. Without a transform, once."""


class SoftmaxHead(OfFeatures):
    """A head that is trained as a softmax regression with class-balanced batches of features."""

    steps: int = Field(default=600, ge=10, le=1_000_000)
    """Training steps of the head, 256 features each; the best of ten evaluations on val is kept."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """Peak of the one-cycle schedule of AdamW."""


heads: Registry[type[Head]] = Registry("head")


@heads.register("crt")
class Retrained(SoftmaxHead):
    """Classifier re-training: the head is initialised again and trained with class-balanced sampling, the rest of the
    classifier stays (cRT, Kang et al. 2020, section 4)."""

    kind: str = "crt"
    """Name of the head."""


@heads.register("tau")
class TauNormalised(Head):
    """The trained head with weights w_c / |w_c|^tau (tau-normalisation, Kang et al. 2020, section 4), since the norms
    grow with the size of the class. The paper leaves the bias out; here it is divided alike, so that tau = 0 changes
    nothing."""

    kind: str = "tau"
    """Name of the head."""

    tau: Annotated[float, Field(ge=0, le=2)] | Literal["search"] = "search"
    """0: the head as it was trained; 1: all norms are 1; a number in [0, 2]. `search`: 0, 0.1, ... 1, on val."""


@heads.register("ncm")
class NearestMean(OfFeatures):
    """Nearest class mean: p(c|x) in proportion to exp(-d(x, mean of c) / T) (Mensink et al. 2013; Kang et al.
    2020). T is chosen on val by log-likelihood, which changes no class."""

    kind: str = "ncm"
    """Name of the head."""

    distance: Literal["cosine", "euclidean", "search"] = "search"
    """`euclidean`: half the squared distance. `cosine`: 1 minus the cosine. `search`: chosen on val."""


@heads.register("lda")
class Discriminant(OfFeatures):
    """Linear discriminant analysis: Bayes' rule for Gaussian classes with their own means, one covariance and equal
    priors, log p(c|x) = x'S⁻¹m_c - m_c'S⁻¹m_c / 2 + const (Fisher 1936; Hastie et al. 2009, eq. 4.10)."""

    kind: str = "lda"
    """Name of the head."""

    covariance: Literal["rich", "all"] = "rich"
    """Which classes' deviations from their means give the covariance: `rich`, those with at least the mean number of
    images; or `all`."""

    shrinkage: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """Weight in [0, 1] of a multiple of the identity in the covariance. `auto`: by Ledoit & Wolf (2004)."""


@heads.register("calibration")
class Calibrated(SoftmaxHead):
    """Distribution calibration: the statistics of rare classes borrow from near rich ones, features are sampled from
    them, and a softmax regression is trained (Yang, Liu & Xu 2021, eq. 3 to 9). Rich classes have at least the mean
    number of images. Unlike in the paper, one head knows rare and rich classes, so that all features are transformed.
    """

    kind: str = "calibration"
    """Name of the head."""

    neighbours: int = Field(default=2, ge=1)
    """Rich classes that a rare image borrows from (k in eq. 5)."""

    power: float = Field(default=0.5, gt=0, le=2)
    """Exponent of Tukey's transform of the features (lambda in eq. 3)."""

    dispersion: Annotated[float, Field(ge=0)] | Literal["search"] = "search"
    """Added to every element of a rare class's covariance (alpha in eq. 6). `search`: 0, 0.021 or 0.21,
    on val."""


class Resampled(SoftmaxHead):
    """A head trained on features of which imbalanced-learn draws more until all classes are as large as the largest.

    A class of a single feature is repeated. If none of a class's features has neighbours in other classes,
    `borderline` and `adasyn` fall back to `smote`.
    """

    neighbours: int = Field(default=5, ge=1)
    """The second feature is drawn from this many nearest features of the class, or as many as there are."""


@heads.register("smote")
class Smote(Resampled):
    """SMOTE on features (Chawla et al. 2002), then a head trained on them."""

    kind: str = "smote"
    """Name of the head."""


@heads.register("borderline")
class Borderline(Resampled):
    """Borderline-SMOTE on features (Han et al. 2005, borderline-1), then a head trained on them."""

    kind: str = "borderline"
    """Name of the head."""


@heads.register("adasyn")
class Adasyn(Resampled):
    """ADASYN on features (He et al. 2008), then a head trained on them."""

    kind: str = "adasyn"
    """Name of the head."""


AnyHead = Annotated[SerializeAsAny[Head], OneOf(Head, "a head", "kind", heads.__getitem__, heads.items, by_name=True)]
