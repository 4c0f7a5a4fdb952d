"""Options of the confirm stage, and of the promotion of a refreshed model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from augpipe.core.schema import Strict, refuse_changed


class Confirm(Strict):
    """The confirm stage: the best arm with a trained generator and the strongest one without are trained again with fresh seeds."""

    generators: int = Field(default=10, ge=3, le=1000)
    """Fresh replicates at most: for each, the generator is trained again, and so are the classifiers of both arms. With
    `classifiers: auto` there may be fewer, with more classifiers on each."""

    classifiers: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = 2
    """Classifiers that each of the two arms trains in a replicate, on the images of one and the same generator. `auto`: the
    time of `generators` replicates of one classifier each is shared out so that the interval is expected to be narrowest, by
    the variances and measured seconds of the first stage; a machine of another speed may then train other numbers."""

    until: Literal["decided", "fixed"] = "decided"
    """`decided`: the result is looked at after 5, 10, 20, ... replicates, and the stage ends when it is clear; the looks
    share the 5% of errors. `fixed`: all replicates, and one look."""

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
            refuse_changed(
                self, ["margin"], f"with rule: {self.rule}; set rule: not worse, or remove it"
            )
        return self
