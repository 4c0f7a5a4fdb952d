"""Arms of an experiment: the training sets that are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from augpipe.classifiers.options import Mix
from augpipe.core.schema import Strict


def _plain(name: str) -> str:
    # Names of arms and generators are used as names of files, runs and columns.
    if not re.fullmatch(r"[^\W_][\w .+-]{0,63}", name):
        raise ValueError(
            f"the name {name!r} must be 1 to 64 letters, digits, spaces or _ . + - and begin with a letter or digit"
        )
    return name


# The pattern is for forms; the validator has the readable message.
Name = Annotated[
    str,
    AfterValidator(_plain),
    # Letters of other scripts begin at \u00aa; \w of a form is ASCII.
    Field(json_schema_extra={"pattern": "^[A-Za-z0-9\u00aa-\uffff][A-Za-z0-9\u00aa-\uffff _.+-]{0,63}$"}),
]


def _is_zero(value: Any) -> bool:
    """Whether a share or a fill is 0, for every class if it is a mapping."""
    return not any(value.values()) if isinstance(value, Mapping) else value == 0


class Arm(Strict):
    """One way to build a training set; baselines are arms too."""

    name: Name
    """Name of the arm in the report and in files."""

    generator: str | Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Name of one of `generators`, or of several: their images are pooled, each making an equal part of every class's
    `fill`. null: no synthetic images."""

    mix: Mix = Mix()
    """How real and synthetic images are combined, and how the classifier is trained on them."""

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the arm's generators; empty if it has none."""
        if self.generator is None:
            return ()
        return (self.generator,) if isinstance(self.generator, str) else self.generator

    @property
    def made_by(self) -> str:
        """Names of the generators joined by ` + `, for messages and reports."""
        return " + ".join(self.generators)

    @model_validator(mode="after")
    def _synthetic_options_need_a_generator(self) -> Arm:
        default, share, fill = Mix(), self.mix.share, self.mix.fill
        if self.generator is not None and self.mix.head is not None:
            raise ValueError(
                f"mix.head of arm {self.name!r} is fitted to the features of real images alone, so an arm with a "
                "generator has none; remove the head or the generator"
            )
        if self.generator is not None and _is_zero(share) and self.mix.beside is None:
            raise ValueError(
                f"mix.share of arm {self.name!r} is 0, so the images of its generator are not used; set it above 0 or "
                "remove the generator"
            )
        if self.generator is not None and _is_zero(fill):
            raise ValueError(
                f"mix.fill of arm {self.name!r} is 0, so its generator draws no images; set it above 0 or remove the "
                "generator"
            )
        for key in (
            "share",
            "until",
            "synthetic_weight",
            "norms_apart",
            "prefer",
            "soft",
            "beside",
            "fill",
            "origin_flag",
            "curated",
        ):
            if self.generator is None and getattr(self.mix, key) != getattr(default, key):
                raise ValueError(f"mix.{key} of arm {self.name!r} needs synthetic images, but the arm has no generator")
        return self
