"""JSON schemas, looked through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def undocumented(schema: Any, path: str = "") -> Iterator[str]:
    """Properties of a JSON schema, however deep, without a description."""
    if isinstance(schema, Mapping):
        for name, own in schema.get("properties", {}).items():
            if not (isinstance(own, Mapping) and own.get("description")):
                yield f"{path}.{name}"
        for key, own in schema.items():
            yield from undocumented(own, f"{path}.{key}")
    elif isinstance(schema, list):
        for at, own in enumerate(schema):
            yield from undocumented(own, f"{path}.{at}")
