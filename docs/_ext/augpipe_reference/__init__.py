"""Sphinx extension: writes the reference pages from augpipe's code before each build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from augpipe_reference import api, command, configuration, kinds, packages

FOLDER = "reference/generated"


def pages() -> dict[str, str]:
    """File name without suffix -> Markdown of every generated page."""
    return {
        "command": command.page(),
        "configuration": configuration.page(),
        "imbalance": configuration.imbalance_page(),
        "sources": kinds.sources_page(),
        "families": kinds.families_page(),
        "losses": kinds.losses_page(),
        "heads": kinds.heads_page(),
        "transforms": kinds.transforms_page(),
        "classifiers": kinds.classifiers_page(),
        "metrics": kinds.metrics_page(),
        "fidelity": kinds.fidelity_page(),
        "checks": kinds.checks_page(),
        "api": api.page(),
        "packages": packages.page(),
    }


def write(app: Sphinx) -> None:
    """Write the pages that changed; an unchanged page keeps its time, so Sphinx does not read it again."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    current = pages()
    for old in folder.glob("*.md"):
        if old.stem not in current:
            old.unlink()
    for name, text in current.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
