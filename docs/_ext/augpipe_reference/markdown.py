"""Markdown from docstrings and rows: escaping, tables, sections."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

GENERATED = "% This page is written by docs/_ext/augpipe_reference from the code. Edit the code instead.\n\n"
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)


def docstring(item: Any) -> str:
    """The cleaned docstring of an object, not of its parents; empty if it has none."""
    text = getattr(item, "__doc__", None)
    if isinstance(item, type) and item.__dict__.get("__doc__") is None:
        text = None
    return inspect.cleandoc(text) if text else ""


def prose(text: str) -> str:
    """Escape what Markdown would read as markup outside `code`; code spans stay as they are."""
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_escaped(text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    text = re.sub(r"([\\<>{}\[\]|$~])", r"\\\1", text)
    return re.sub(r"(?<!^)(?<!\n)\*|(?<=\n)\*(?!\s)", r"\\*", text)


def summary(text: str) -> str:
    """First paragraph on one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def cell(text: str) -> str:
    """Text for a table cell: one line, pipes escaped."""
    flat = " ".join(text.split())
    return re.sub(r"(?<!\\)\|", r"\\|", flat)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A pipe table; cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines) + "\n"


def section(title: str, *body: str, level: int = 2, label: str = "") -> str:
    """A heading with an optional target, and its paragraphs."""
    target = f"({label})=\n" if label else ""
    paragraphs = "\n\n".join(part.rstrip() for part in body if part.strip())
    return f"{target}{'#' * level} {title}\n\n{paragraphs}\n"


def document(title: str, *body: str) -> str:
    """A whole page."""
    parts = [section(title, level=1), *body]
    return GENERATED + "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
