"""When a refreshed model replaces the one in service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from augpipe.core.schema import Strict, refuse_changed


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
