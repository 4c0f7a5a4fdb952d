"""The page of packages: every module with the first line of its docstring, in the order of the layers."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from augpipe_reference.markdown import document, prose, section, summary, table

ROOT = Path(__file__).parents[3]
INTRO = """The packages stand in the order of the imports: each one imports only from those above it. Packages of one
layer do not import each other. `make lint` checks this."""


def page() -> str:
    """A table a package; nothing is imported."""
    sections = []
    for layer in reversed(_layers()):
        for package in (name.strip() for name in layer.split("|")):
            folder = ROOT.joinpath(*package.split("."))
            if not folder.is_dir():  # a layer of one module
                module = folder.with_suffix(".py")
                title = f"`{module.relative_to(ROOT).as_posix()}`"
                sections.append(section(title, prose(_docstring(module))))
                continue
            title = f"`{folder.relative_to(ROOT).as_posix()}/`"
            rows = [
                (f"`{path.relative_to(folder).as_posix()}`", prose(summary(_docstring(path))))
                for path in sorted(folder.rglob("*.py"))
                if path.name != "__init__.py"
            ]
            intro = prose(_docstring(folder / "__init__.py"))
            listed = table(["file", "what it does"], rows) if rows else ""
            sections.append(section(title, intro, listed))
    return document("The packages", INTRO, *sections)


def _layers() -> list[str]:
    """The layers contract of import-linter, the top one first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(c["layers"] for c in contracts if c["type"] == "layers")
    return layers


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
