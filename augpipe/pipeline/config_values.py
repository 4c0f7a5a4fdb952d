"""The values of a config, not validated: read from a YAML file, with `--set` overrides applied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import UserError, choices
from augpipe.core.yaml_loader import read_yaml
from augpipe.pipeline.config_paths import from_folder, map_paths

# Values of `--set` that are no YAML: a template of fields in braces, and a list of patterns with `*`.
TEMPLATE: Final = re.compile(r"(\{[^{}:,]+\}[^{}]*)+")
PATTERNS: Final = re.compile(r"\[(?=[^\]]*\*)([^\[\]{}\"':]+)\]")


def read(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """The values of a YAML file with overrides applied, not validated, and a name for the file in messages.

    Relative paths in the file are relative to its folder, those of overrides to the working directory.
    """
    where = f"the config {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"cannot read {where}: it is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {where}: {error.strerror or error}") from None
    values = read_yaml(text, where)
    if isinstance(values, dict):
        map_paths(values, partial(from_folder, path.parent, where))
    return overridden(values, overrides, where), where


def overridden(values: Any, overrides: Sequence[str], where: str) -> dict[str, Any]:
    """The values with overrides applied; UserError if they are no keys and values."""
    if not isinstance(values, dict):
        what = "is empty" if values is None else f"is {_shape(values)}"
        raise UserError(f"{where} {what}; it must have keys and values, such as source: ...")
    for text in overrides:
        override(values, text)
    return values


def _shape(values: Any) -> str:
    return "a list" if isinstance(values, list) else f"only {str(values)[:60]!r}"


def override(values: dict[str, Any], text: str) -> None:
    """Apply `a.b=value`; a step into a list is a position, or the `name` of one of its entries."""
    path, separator, raw = text.partition("=")
    if not separator or not path:
        raise UserError(f"--set takes key.key=value; got {text!r}")
    node: Any = values
    steps = path.split(".")
    for step in steps[:-1]:
        node = _into(node, step, text)
    value = _value(raw, text)
    if isinstance(node, dict):
        node[steps[-1]] = value
    elif isinstance(node, list) and steps[-1].isdecimal() and int(steps[-1]) < len(node):
        node[int(steps[-1])] = value
    else:
        raise UserError(f"--set {text}: {'.'.join(steps[:-1])} has no keys")


def _value(raw: str, text: str) -> Any:
    """Parse as YAML; text that only looks like YAML, such as the layout {label}/{group} or [*_mask*], stays text."""
    try:
        value = read_yaml(raw, f"the value of --set {text}")
        for key in value if isinstance(value, dict) else ():
            if value[key] is None and ":" in str(key):
                before, _, after = str(key).partition(":")
                raise UserError(f"--set {text}: write a space after the colon, {{{before}: {after}}}")
        return value
    except UserError:
        if raw[:1] in "*{" and (raw[-1:] not in "}]" or TEMPLATE.fullmatch(raw)):
            return raw
        if patterns := PATTERNS.fullmatch(raw):
            return [pattern.strip() for pattern in patterns[1].split(",")]
        raise


def _into(node: Any, step: str, text: str) -> Any:
    if isinstance(node, list):
        names = [str(item.get("name", i)) for i, item in enumerate(node) if isinstance(item, dict)]
        for position, item in enumerate(node):
            if step == str(position) or (isinstance(item, dict) and item.get("name") == step):
                return item
        raise UserError(f"--set {text}: no entry {step!r}; choose from {choices(names)}")
    if isinstance(node, dict):
        inner = node.setdefault(step, {})
        if inner is None:
            inner = node[step] = {}
        if isinstance(inner, dict | list):
            return inner
    raise UserError(f"--set {text}: {step!r} has no keys")
