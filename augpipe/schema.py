"""Configuration models: strict, frozen, with errors that fit on one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from augpipe.errors import UserError, unknown
from augpipe.kinds import load_kind


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and names the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            have = [f.alias or name for name, f in cls.model_fields.items()]
            for key in value:
                if key not in have and key not in cls.model_fields:
                    raise unknown("key", key, have)
        return value


class KindConfig(Strict):
    """A configuration whose `kind` names the file that reads it."""

    kind: str


def by_kind(package: str, what: str) -> BeforeValidator:
    """Validator: mapping with `kind` → the `Config` of module `package.kind`.

    Fields typed with it must be `SerializeAsAny[...]`: dumped as the base class they would lose what
    only the kind knows, and two different configurations would hash alike.
    """

    def resolve(value: Any) -> Any:
        if isinstance(value, KindConfig):
            return value
        if not isinstance(value, Mapping) or "kind" not in value:
            raise UserError(f"a {what} is a mapping with a kind; got {value!r}")
        config = load_kind(package, value["kind"], what).Config
        try:
            return config.model_validate(value)
        except ValidationError as error:
            raise UserError(explain(error)) from None

    return BeforeValidator(resolve)


def explain(error: ValidationError) -> str:
    """The first complaint of a ValidationError on one line: `path: what is wrong (got value)`."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    message = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else first["msg"]
    # A whole mapping repeated back hides the message; only short values are shown.
    shown = repr(first.get("input"))
    told = "" if "error" in first.get("ctx", {}) or len(shown) > 60 else f" (got {shown})"
    line = " ".join(f"{message}{told}".split())
    return f"{path}: {line}" if path else line


def _is_branch(part: int | str) -> bool:
    """Whether pydantic put the name of a union's branch, not a key, into the location."""
    return isinstance(part, str) and any(mark in part for mark in "[(-")
