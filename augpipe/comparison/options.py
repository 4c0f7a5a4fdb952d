"""The metric of a comparison, and options of the confirm stage and of the promotion of a refreshed model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from augpipe.core.schema import Strict, refuse_changed

Metric = Literal["macro_recall", "macro_f1", "macro_auc", "minority_recall", "worst_class_recall"]
METRICS: Final[tuple[str, ...]] = get_args(Metric)
# In sentences and on axes.
LABELS: Final[Mapping[str, str]] = {
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC",
    "minority_recall": "minority recall",
    "worst_class_recall": "worst-class recall",
}
# For readers who do not know them; each follows the metric's label.
DEFINITIONS: Final[Mapping[str, str]] = {
    "macro_recall": "is the sensitivity of a class, averaged over classes, so that a rare class counts as much as a "
    "common one",
    "macro_f1": "is the harmonic mean of precision and recall of a class, averaged over classes",
    "macro_auc": "is the area under the ROC curve of a class against all others, averaged over classes",
    "minority_recall": "is the sensitivity averaged over the classes with fewer training images than the mean",
    "worst_class_recall": "is the sensitivity of the class that has the lowest in a training",
}


class Confirm(Strict):
    """The confirm stage: the best arm with a trained generator
    and the strongest one without are trained again with fresh seeds.
    """

    generators: int = Field(default=10, ge=3, le=1000)
    """Fresh replicates at most: for each, the generator is trained again, and so are the classifiers of both arms. With
    `classifiers: auto` there may be fewer, with more classifiers on each."""

    classifiers: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = 2
    """Classifiers that each of the two arms trains in a replicate, on the images of one and the same generator. `auto`:
    the time of `generators` replicates of one classifier each is shared out so that the interval is expected to be
    narrowest, by the variances and measured seconds of the first stage; a machine of another speed may then train other
    numbers."""

    until: Literal["decided", "fixed"] = "decided"
    """`decided`: the result is looked at after 5, 10, 20, ... replicates, and the stage ends when it is clear; the
    looks share the 5% of errors. `fixed`: all replicates, and one look."""

    margin: float = Field(default=0.5, gt=0, lt=100)
    """Largest difference in points (percent) of the metric that counts as none: a 90% interval within plus and minus
    `margin` is the answer `equivalent`."""


class Promotion(Strict):
    """When a new model (challenger) replaces the registered one (champion)."""

    rule: Literal["better", "not worse"] = "better"
    """The 95% interval of the challenger's gain in macro recall must lie above 0 (`better`), or above `-margin`
    (`not worse`)."""

    margin: float = Field(default=0.01, ge=0, lt=1)
    """Loss of macro recall that `not worse` tolerates; 0.01 is one percentage point."""

    @model_validator(mode="after")
    def _margin_has_effect(self) -> Promotion:
        if self.rule != "not worse":
            refuse_changed(self, ["margin"], f"with rule: {self.rule}; set rule: not worse, or remove it")
        return self
