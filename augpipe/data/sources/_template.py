"""Path templates for class, group and split: `{label}/**/*`, `{split}/{label}/{group}_*.png`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator, ValidationInfo

from augpipe.core.errors import UserError

FIELDS: Final = ("label", "group", "split")
BY_CLASS: Final = "{label}/**/*"


class Place(NamedTuple):
    """Label, group and split parsed from a path; "" if the layout lacks the field."""

    label: str
    group: str
    split: str
    attributes: tuple[str, ...] = ()


class Layout:
    """A path template. `{label}`, `{group}` and `{split}` match part of a name, `*` any part of a name, `**` any
    number of folders. The values of a repeated field are joined with `/`.

    `{label+}` takes the longest part that fits, `{label-}` the shortest; a field without a sign must fit in one way
    only.
    """

    def __init__(self, template: str, attributes: Sequence[str] = ()) -> None:
        self.template, self.attributes = template, tuple(attributes)
        known = (*FIELDS, *self.attributes)
        fields = [name.rstrip("+-") for name in re.findall(r"\{([^}]*)\}", template)]
        for name in fields:
            if name not in known:
                raise ValueError(f"unknown field {{{name}}} in the layout {template!r}; choose from {', '.join(known)}")
        for name in self.attributes:
            if name not in fields:
                raise ValueError(f"the layout {template!r} has no field {{{name}}} of source.attributes")
        if "label" not in fields:
            raise ValueError(f"the layout {template!r} has no {{label}}; example: {BY_CLASS!r}")
        self.fields = fields
        self._shortest = re.compile(_expression(template, "-"))
        self._longest = re.compile(_expression(template, "+"))

    def match(self, path: str) -> Place | None:
        """Parse a path with `/`; None if it does not match the template; UserError if it does in several ways."""
        match, longest = self._shortest.fullmatch(path), self._longest.fullmatch(path)
        if match is None or longest is None:
            return None
        for name, short, long in zip(self.fields, match.groups(), longest.groups(), strict=True):
            if short != long:
                raise UserError(
                    f"the layout {self.template!r} fits {path!r} in several ways: {{{name}}} may be {short!r} or "
                    f"{long!r}; write {{{name}-}} for the shortest or {{{name}+}} for the longest"
                )
        values: dict[str, list[str]] = {name: [] for name in (*FIELDS, *self.attributes)}
        for name, part in zip(self.fields, match.groups(), strict=True):
            values[name].append(part)
        of_field = {name: "/".join(parts) for name, parts in values.items()}
        return Place(
            of_field["label"], of_field["group"], of_field["split"], tuple(of_field[name] for name in self.attributes)
        )


def _expression(template: str, sign: str) -> str:
    """Template → regular expression; fields and `*` do not match `/`. sign: of fields that have none."""
    parts = []
    for segment in template.strip("/").split("/"):
        if segment == "**":
            parts.append(r"(?:[^/]+/)*")
            continue
        tokens = re.split(r"(\{[^}]*\}|\*+)", segment)
        patterns = [_token(token, sign) for token in tokens if token]
        parts.append("".join(patterns) + "/")
    return "".join(parts).removesuffix("/")


def _token(token: str, sign: str) -> str:
    if token.startswith("{"):
        signed = token[-2] if token[-2] in "+-" else sign
        return r"([^/]+)" if signed == "+" else r"([^/]+?)"
    return r"[^/]*?" if token.startswith("*") else re.escape(token)


def _checked(template: str, info: ValidationInfo) -> str:
    Layout(template, info.data.get("attributes", ()))  # a field that is validated before this one
    return template


Template = Annotated[str, AfterValidator(_checked)]
