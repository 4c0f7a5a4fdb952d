"""The Python API page: whatever `augpipe.__all__` holds when the site is built."""

from __future__ import annotations

import inspect
import re
import typing
from types import ModuleType
from typing import Any

from pydantic import BaseModel

import augpipe
from augpipe_reference.configuration import configured
from augpipe_reference.fields import label_of
from augpipe_reference.markdown import docstring, document, prose, section, summary

_PATHS = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=\w)")
_OWNER = re.compile(r"^\((?:self|cls)(?:, )?")
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
INTRO = """`import augpipe` needs neither Prefect nor MLflow. Names that are not on this page may change without
notice; [the packages](packages.md) lists every module."""


def page() -> str:
    """One section a public name."""
    names = [name for name in getattr(augpipe, "__all__", ()) if not name.startswith("_")]
    sections = [_entry(name, getattr(augpipe, name)) for name in names]
    return document("Python API", INTRO, prose(docstring(augpipe)), *sections)


def _entry(name: str, item: Any) -> str:
    label = f"api-{name.lower()}"
    if typing.get_origin(item) is not None:
        alias = re.sub(_PATHS, "", str(item))
        return section(f"`augpipe.{name}`", f"Type alias of `{alias}`.", label=label)
    if isinstance(item, ModuleType):
        return section(f"`augpipe.{name}`", prose(docstring(item)), label=label)
    if isinstance(item, type) and issubclass(item, BaseModel):
        link = ""
        if item in configured():
            link = f"Fields: [configuration](configuration.md#{label_of(item)})."
        return section(f"`augpipe.{name}`", numpydoc(docstring(item)), link, label=label)
    if isinstance(item, type):
        return section(f"`augpipe.{name}`", *_class(name, item), label=label)
    if callable(item):
        return section(f"`augpipe.{name}`", *_callable(name, item), label=label)
    kind = f"`{name}` is of type `{type(item).__name__}`."
    return section(f"`augpipe.{name}`", kind, label=label)


def _callable(name: str, item: Any) -> tuple[str, str]:
    return f"```python\n{name}{signature(item)}\n```", numpydoc(docstring(item))


def _class(name: str, item: type) -> list[str]:
    """Signature, docstring, then public methods and properties, those of parents in augpipe included."""
    parts = [*_callable(name, item)]
    for key, member in _members(item):
        if isinstance(member, property):
            parts.append(f"**`.{key}`** (property): {prose(summary(docstring(member)))}")
        else:
            function = getattr(member, "__func__", member)
            call = f"`.{key}{re.sub(_OWNER, '(', signature(function))}`"
            parts.append(f"**{call}**: {_method(docstring(function))}")
    return parts


def _method(text: str) -> str:
    """The whole docstring if it has numpydoc sections, else its first paragraph."""
    return numpydoc(text) if _SECTION.search(text) else prose(summary(text))


def _members(item: type) -> list[tuple[str, Any]]:
    found: dict[str, Any] = {}
    for base in reversed(item.__mro__):
        if not base.__module__.startswith("augpipe"):
            continue
        for key, member in vars(base).items():
            documented = isinstance(member, property | classmethod | staticmethod) or (inspect.isfunction(member))
            if documented and not key.startswith("_"):
                found[key] = member
    return list(found.items())


def signature(item: Any) -> str:
    """The signature as written, without module paths; "(...)" where Python cannot tell."""
    try:
        text = str(inspect.signature(item))
    except (TypeError, ValueError):
        return "(...)"
    return re.sub(_PATHS, "", text).replace("'", "").replace('"', "")


def numpydoc(text: str) -> str:
    """A docstring with numpydoc sections as Markdown: sections in bold, entries as definition lists."""
    head, *rest = _SECTION.split(text)
    parts = [prose(head)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        if title.strip() == "Examples":
            parts.append(f"**Examples**\n\n```python\n{body.strip()}\n```")
        else:
            parts.append(f"**{title.strip()}**\n\n{_entries(body)}")
    return "\n\n".join(part.strip() for part in parts)


def _entries(body: str) -> str:
    """`name : type` lines with indented text -> a definition list; other text as it is."""
    lines = body.strip("\n").splitlines()
    if not any(line.startswith((" ", "\t")) for line in lines):
        return prose(body.strip())
    found: list[str] = []
    for line in lines:
        if line and not line.startswith((" ", "\t")):
            found += ["", f"`{line.strip()}`"]
        elif line.strip():
            first = not found or found[-1].startswith("`")
            found.append((":   " if first else "    ") + prose(line.strip()))
    return "\n".join(found)
