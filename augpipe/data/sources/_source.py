"""Options of every source: the second test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, cast

from pydantic import BeforeValidator, SerializeAsAny, WithJsonSchema, model_serializer

from augpipe.core.schema import KindConfig, by_kind

_KIND = {"type": "string", "description": "Name of the file that reads the options."}
# Without the options of each kind, which would contain themselves.
_SCHEMA: Final = {"anyOf": [{"type": "object", "properties": {"kind": _KIND}, "required": ["kind"]}, {"type": "null"}]}


def _shift(value: Any) -> KindConfig | None:
    """A mapping with a kind → the source's options; ValueError for options without effect."""
    if value is None:
        return None
    source = cast(KindConfig, by_kind("augpipe.data.sources", "shift test set").resolve(value))
    for name in ("shift", "attributes"):
        if getattr(source, name, None):
            raise ValueError(f"shift.{name} has no effect: remove it")
    return source


class SourceConfig(KindConfig):
    """Options of all sources; each kind adds its own."""

    shift: Annotated[SerializeAsAny[KindConfig] | None, BeforeValidator(_shift), WithJsonSchema(_SCHEMA)] = None
    """A second test set from elsewhere, such as another hospital: a source, with the same classes. Every classifier is
    scored on all of its images once, after everything is chosen, beside test. null: none."""

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The options, without `shift` if there is none."""
        values = serialize(self)
        if self.shift is None:
            values.pop("shift", None)
        return values
