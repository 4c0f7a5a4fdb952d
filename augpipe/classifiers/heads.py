"""Heads that replace a trained classifier's last layer, each with its options: rebalancing in feature space.

The classifier is trained as without the head; its features of real images are then computed once, and the head is
fitted to them, which takes seconds. Nothing is generated as an image. `head: crt` and `head: {kind: crt}` are the same.
torch is imported when a head is fitted, not when a config is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, SerializeAsAny

from augpipe.core.registry import Registry
from augpipe.core.schema import OneOf, Strict

if TYPE_CHECKING:
    from augpipe.classifiers.features import HeadData, LinearHead

TAUS: Final = tuple(round(0.1 * k, 1) for k in range(11))  # tried by `tau: search`
DISPERSIONS: Final = (0.0, 0.021, 0.21)  # tried by `dispersion: search`; the last one is the paper's


class Head(Strict):
    """A head and its options."""

    kind: str
    """Name of the head."""

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """The head; options that are open are chosen on val, by macro recall."""
        raise NotImplementedError


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

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.head_training import train_head

        return train_head(data.train, data, self, seed)


@heads.register("tau")
class TauNormalised(Head):
    """The trained head with weights w_c / |w_c|^tau (tau-normalisation, Kang et al. 2020, section 4), since the norms
    grow with the size of the class. The paper leaves the bias out; here it is divided alike, so that tau = 0 changes
    nothing."""

    kind: str = "tau"
    """Name of the head."""

    tau: Annotated[float, Field(ge=0, le=2)] | Literal["search"] = "search"
    """0: the head as it was trained; 1: all norms are 1; a number in [0, 2]. `search`: 0, 0.1, ... 1, on val."""

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.closed_heads import best_on_val, tau_normalised

        taus = TAUS if self.tau == "search" else (self.tau,)
        return best_on_val([tau_normalised(data.base, tau) for tau in taus], data)


@heads.register("ncm")
class NearestMean(OfFeatures):
    """Nearest class mean: p(c|x) in proportion to exp(-d(x, mean of c) / T) (Mensink et al. 2013; Kang et al.
    2020). T is chosen on val by log-likelihood, which changes no class."""

    kind: str = "ncm"
    """Name of the head."""

    distance: Literal["cosine", "euclidean", "search"] = "search"
    """`euclidean`: half the squared distance. `cosine`: 1 minus the cosine. `search`: chosen on val."""

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.closed_heads import best_on_val, nearest_mean

        kinds = ("cosine", "euclidean") if self.distance == "search" else (self.distance,)
        return best_on_val([nearest_mean(data, cosine=kind == "cosine") for kind in kinds], data)


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

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.closed_heads import discriminant

        shrinkage = None if self.shrinkage == "auto" else self.shrinkage
        return discriminant(data, rich_only=self.covariance == "rich", shrinkage=shrinkage)


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

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.closed_heads import best_on_val

        values = DISPERSIONS if self.dispersion == "search" else (self.dispersion,)
        return best_on_val([self._trained(data, value, seed) for value in values], data)

    def _trained(self, data: HeadData, dispersion: float, seed: int) -> LinearHead:
        """The head trained on transformed real features and, for rare classes, on ones from calibrated Gaussians."""
        from augpipe.classifiers.features import Features, transformed
        from augpipe.classifiers.head_training import train_head
        from augpipe.classifiers.resampling import with_calibrated

        train = Features(transformed(data.train.points, self.power), data.train.labels)
        filled = with_calibrated(train, (data.rich, data.rare), self.neighbours, dispersion, seed)
        head = train_head(filled, data, self, seed, self.power)
        return replace(head, chosen={**head.chosen, "dispersion": dispersion})


class Resampled(SoftmaxHead):
    """A head trained on features of which imbalanced-learn draws more until all classes are as large as the largest.

    A class of a single feature is repeated. If none of a class's features has neighbours in other classes,
    `borderline` and `adasyn` fall back to `smote`.
    """

    neighbours: int = Field(default=5, ge=1)
    """The second feature is drawn from this many nearest features of the class, or as many as there are."""

    def fit(self, data: HeadData, seed: int) -> LinearHead:
        """See the class."""
        from augpipe.classifiers.head_training import train_head
        from augpipe.classifiers.resampling import resampled

        return train_head(resampled(data.train, self.kind, self.neighbours, seed), data, self, seed)


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
