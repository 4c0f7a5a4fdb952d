"""Configuration models: strict, frozen, with errors that fit on one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from augpipe.core.errors import UserError, several, unknown
from augpipe.core.registry import kinds_in, load_kind

# Types of pydantic's errors → message.
PLAIN: Final = {
    ("tuple_type", "list_type"): "must be a list",
    ("dict_type", "mapping_type", "model_type", "model_attributes_type"): "must have keys and values",
    ("string_type",): "must be text",
    ("int_type", "int_parsing", "int_from_float"): "must be a whole number",
    ("float_type", "float_parsing"): "must be a number",
    ("bool_type", "bool_parsing"): "must be true or false",
    ("missing",): "is missing",
    ("path_type",): "must be a single path",
    ("finite_number",): "must be a finite number",
    ("none_required",): "must be empty (null)",
}


class Strict(BaseModel):
    """Options: a frozen model that refuses unknown keys and names the known ones.

    Each field is documented by the string below it, which forms and the reference show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            have = [f.alias or name for name, f in cls.model_fields.items()]
            for key in value:
                if key not in have and key not in cls.model_fields:
                    raise unknown("key", key, have)
        return value


def changed(options: Strict) -> list[str]:
    """Names of the options that are not their defaults."""
    return [
        name
        for name, field in type(options).model_fields.items()
        if getattr(options, name) != field.get_default(call_default_factory=True, validated_data={})
    ]


def refuse_changed(options: Strict, names: Iterable[str], why: str) -> None:
    """ValueError for the first of these options that is not its default; why: the rest of `x: 1 has no effect ...`.

    Defaults pass, because a dumped experiment contains all of them.
    """
    others = changed(options)
    for name in names:
        if name in others:
            value = getattr(options, name)
            shown = f"{value:g}" if isinstance(value, float) else value
            raise ValueError(f"{name}: {shown} has no effect {why}")


class KindConfig(Strict):
    """A configuration whose `kind` names the file that reads it."""

    kind: str
    """Name of the file that reads the options."""


@dataclass(frozen=True)
class OneOf:
    """Annotation of a field that is one of several models of `base`, named under `key`.

    what: such as `a loss`, for messages. load: name → model; UserError for an unknown name. by_name: whether the name
    of a model alone is accepted, too. The field must be `SerializeAsAny[...]`: dumped as the base class it would lose
    the fields of the actual model, and different configurations would have equal hashes. Its JSON schema is any of
    `models`, for forms.
    """

    base: type[BaseModel]
    what: str
    key: str
    load: Callable[[Any], type[BaseModel]]
    models: Callable[[], Iterable[tuple[str, type[BaseModel]]]]
    by_name: bool = False

    def resolve(self, value: Any) -> BaseModel:
        """The model of a value as it stands in a config; UserError for a mistake in it."""
        if isinstance(value, self.base):
            return value
        if self.by_name and isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, Mapping) or self.key not in value:
            form = f"{'a name, or ' if self.by_name else ''}a mapping with a {self.key}"
            raise UserError(f"{self.what} must be {form}; got {value!r}")
        model = self.load(value[self.key])
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise UserError(explain(error)) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read by `resolve` first."""
        return core_schema.no_info_before_validator_function(self.resolve, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Each model's own schema, with its name as a constant."""
        schemas = []
        for name, model in self.models():
            model_schema = dict(handler.resolve_ref_schema(handler(model.__pydantic_core_schema__)))
            named = {"const": name, "default": name, "title": self.key, "type": "string"}
            named["description"] = model_schema["properties"][self.key]["description"]
            schemas.append(
                {**model_schema, "title": name, "properties": {**model_schema["properties"], self.key: named}}
            )
        if self.by_name:
            schemas.append({"enum": [name for name, _ in self.models()], "type": "string"})
        return {"anyOf": schemas}


def by_kind(package: str, what: str) -> OneOf:
    """Annotation: mapping with `kind` → the `Config` of module `package.kind`."""

    def load(kind: Any) -> type[BaseModel]:
        config: type[BaseModel] = load_kind(package, kind, what).Config
        return config

    return OneOf(KindConfig, f"a {what}", "kind", load, lambda: ((kind, load(kind)) for kind in kinds_in(package)))


def explain(error: ValidationError) -> str:
    """First error of a ValidationError on one line: `path: message (got value)`."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    message = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else _plain(first)
    # Only short values are shown: a whole mapping would hide the message.
    shown = repr(first.get("input"))
    suffix = "" if "error" in first.get("ctx", {}) or len(shown) > 60 else f" (got {shown})"
    line = " ".join(f"{message}{suffix}".split())
    return f"{path}: {line}" if path else line


def _plain(error: Mapping[str, Any]) -> str:
    """Pydantic's message in the words of a configuration."""
    kind, context = error["type"], error.get("ctx", {})
    for kinds, words in PLAIN.items():
        if kind in kinds:
            return words
    if kind == "too_short":
        return f"needs at least {several(context['min_length'], 'entry')}".replace("entrys", "entries")
    return str(error["msg"]).replace("Input should be", "must be")


def _is_branch(part: int | str) -> bool:
    """Whether a part of the location is the name of a union branch, not a key."""
    return isinstance(part, str) and any(mark in part for mark in "[(-")
