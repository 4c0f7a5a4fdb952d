"""Options that every generator family has. A family's own are the `Config` of its file in `models/`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field, SerializeAsAny, model_validator

from augpipe.core.schema import KindConfig, by_kind

FAMILIES: Final = "augpipe.generators.models"


class GeneratorConfig(KindConfig):
    """Options of every family; the family adds its own."""

    # Whether images come from a trained model; a baseline that only interpolates says False.
    generative: ClassVar[bool] = True
    # Whether images are derived from single train images (`Deriving`): a logged model then needs them.
    derives: ClassVar[bool] = False

    kimg: float = Field(default=60.0, ge=0)
    """Training budget, in thousands of real images shown."""

    batch: int = Field(default=100, ge=2)
    """Real images per training step."""

    ticks: int = Field(default=6, ge=1)
    """Validations (with previews) during training, evenly over the budget; the best checkpoint is kept."""

    patience: int | None = Field(default=5, ge=1)
    """Training ends after this many ticks without an improvement. null: it uses the whole budget."""

    collapse: float = Field(default=0.1, ge=0, lt=1)
    """A class whose diversity is below this fraction of the real images' diversity counts as collapsed."""

    together: int = Field(default=1, ge=1, le=64)
    """Images of one class drawn in a row in a batch. Minibatch standard deviation needs several (the paper: 4)."""

    per_class: bool = False
    """Train one model per class instead of one for all classes."""

    pretrain: float = Field(default=0.0, ge=0)
    """With `per_class`: thousands of images of all classes that a common model is first trained on. 0: none."""

    pretrain_below: int = Field(default=200, ge=1)
    """Models of classes with fewer train images than this start from the common model of `pretrain`."""

    @model_validator(mode="after")
    def _pretrains_parts(self) -> GeneratorConfig:
        if self.pretrain and not self.per_class:
            raise ValueError("pretrain starts models of single classes; it needs per_class: true")
        if self.per_class and not self.generative:
            raise ValueError(f"{self.kind} trains no model, so there is none to have per_class")
        return self


AnyGenerator = Annotated[SerializeAsAny[GeneratorConfig], by_kind(FAMILIES, "generator")]
