"""Tables of the fields of pydantic models: type, default, bounds, description."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from augpipe.classifiers.heads import Head
from augpipe.classifiers.losses import Loss
from augpipe.core.schema import KindConfig
from augpipe.data.imbalance import Profile
from augpipe.generators.options import GeneratorConfig
from augpipe_reference.markdown import prose, table

# Models of which a field holds one of several kinds, and the page that lists the kinds.
PAGES: Mapping[type[BaseModel], tuple[str, str]] = {
    GeneratorConfig: ("a generator family", "families.md"),
    KindConfig: ("a source", "sources.md"),
    Loss: ("a loss", "losses.md"),
    Head: ("a head", "heads.md"),
    Profile: ("an imbalance profile", "imbalance.md"),
}
_PLAIN = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    type(None): "null",
    Any: "any value",
    dict: "mapping",
}
_BOUNDS = (
    (annotated_types.Gt, "gt", "> {}"),
    (annotated_types.Ge, "ge", "≥ {}"),
    (annotated_types.Lt, "lt", "< {}"),
    (annotated_types.Le, "le", "≤ {}"),
    (annotated_types.MinLen, "min_length", "length ≥ {}"),
    (annotated_types.MaxLen, "max_length", "length ≤ {}"),
)


def label_of(model: type[BaseModel]) -> str:
    """The target of a model's section on the configuration page."""
    return f"config-{model.__name__.lower()}"


def field_table(model: type[BaseModel], names: Iterable[str] | None = None) -> str:
    """The fields of a model, or the named ones of them."""
    wanted = list(model.model_fields if names is None else names)
    rows = []
    for name in wanted:
        field = model.model_fields[name]
        type_name, bounds = describe(field.annotation, tuple(field.metadata))
        rows.append(
            (f"`{field.alias or name}`", type_name, default(field), "; ".join(bounds), prose(field.description or ""))
        )
    described = any(row[4] for row in rows)
    header = ["key", "type", "default", "bounds", "description"]
    return table(header if described else header[:4], rows if described else [r[:4] for r in rows])


def default(field: FieldInfo) -> str:
    """A field's default as YAML on one line, or "required"."""
    value = field.default
    if field.default_factory is not None:
        value = typing.cast(Any, field.default_factory)()
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        base = next((page for kind, page in PAGES.items() if isinstance(value, kind)), None)
        if base is not None:
            name = getattr(value, "kind", None) or getattr(value, "profile", None)
            return f"`{name}`"
        return "its own defaults"
    if isinstance(value, str) and value:
        return f"`{value}`"
    return f"`{json.dumps(value, default=str, ensure_ascii=False)}`"


def describe(annotation: Any, metadata: tuple[Any, ...] = ()) -> tuple[str, list[str]]:
    """(type in words, bounds) of an annotation and of what pydantic took off it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return describe(inner, (*more, *metadata))
    bounds = _bounds(metadata)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in PAGES:
            text, page = PAGES[annotation]
            return f"[{text}]({page})", bounds
        return f"[mapping](#{label_of(annotation)})", bounds
    text, inner_bounds = _generic(annotation)
    return text, [*bounds, *inner_bounds]


def _generic(annotation: Any) -> tuple[str, list[str]]:
    """Unions, literals, containers and plain types."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(a).strip(chr(34))}`" for a in args), []
    if origin in (Union, types.UnionType):
        parts = [describe(a) for a in args]
        names = list(dict.fromkeys(text for text, _ in parts))
        return " or ".join(names), [b for _, bounds in parts for b in bounds]
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            text, bounds = describe(args[0])
            return f"list of {text}", bounds
        return "list: " + ", ".join(describe(a)[0] for a in args), []
    if isinstance(origin, type) and issubclass(origin, Mapping):
        (key, key_bounds), (value, value_bounds) = describe(args[0]), describe(args[1])
        return f"mapping of {key} to {value}", [*key_bounds, *value_bounds]
    return _PLAIN.get(annotation, f"`{getattr(annotation, '__name__', annotation)}`"), []


def _bounds(metadata: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            found += _bounds(item.metadata)
        for kind, attribute, text in _BOUNDS:
            if isinstance(item, kind):
                found.append(text.format(format(getattr(item, attribute), "g")))
    return found


def nested(annotation: Any, path: str) -> list[tuple[str, type[BaseModel]]]:
    """(key path, model) of the models in an annotation that belong on the configuration page."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation in PAGES else [(path, annotation)]
    if get_origin(annotation) is tuple:
        path += "[]"
    return [found for arg in get_args(annotation) for found in nested(arg, path)]
