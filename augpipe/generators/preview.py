"""A family's options and its check of image sizes, read from its file without importing torch.

A mistake in them is reported within a second that way; importing torch takes several. Only the classes, functions and
constants are executed that `Config` and `check` refer to. What is read here is checked again when the family is
imported.
"""

from __future__ import annotations
import __future__

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from pydantic import ValidationError

from augpipe.core.errors import UserError
from augpipe.core.refs import NAME
from augpipe.core.registry import kinds_in
from augpipe.core.schema import KindConfig
from augpipe.generators.options import FAMILIES, GeneratorConfig

# Imported as they are: modules of these names import no torch.
LIGHT: Final = frozenset(
    {
        "collections.abc",
        "itertools",
        "math",
        "pydantic",
        "typing",
        "augpipe.core.errors",
        "augpipe.core.registry",
        "augpipe.core.schema",
        "augpipe.data.sources",
        "augpipe.generators.options",
        "augpipe.nn.options",
    }
)
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Preview:
    """A family's `Config`, and its `check` of a configuration and a problem, None if it has none."""

    config: type[GeneratorConfig]
    check: Callable[[Any, Any], None] | None


@cache
def preview(kind: str) -> Preview | None:
    """The preview of a family; None if its file needs more than is executed here."""
    try:
        defined = _definitions(f"{FAMILIES}.{kind}", frozenset({"Config", "check"}))
        config = defined["Config"]
        if not issubclass(config, GeneratorConfig):
            return None
        config.model_rebuild()
    except Exception:  # any error of code that is executed without the rest of its module
        return None
    return Preview(config, defined.get("check"))


def check_size(config: KindConfig, size: int, channels: int | None) -> None:
    """UserError if a family by its preview cannot generate images of `size` pixels; nothing if it has no preview."""
    known = preview(config.kind)
    if known is None or known.check is None:
        return
    spec = SimpleNamespace(size=size, channels=channels or 1)
    try:
        known.check(config, SimpleNamespace(spec=spec, classes=("a", "b")))
    except UserError:
        raise
    except Exception:  # noqa: S110 (it needs more than the preview has; made again when the family is imported)
        pass


def options_of(config: Mapping[str, Any]) -> GeneratorConfig | None:
    """The options of a generator by the configuration in its checkpoint; None if its family has no preview."""
    kind = str(config.get("kind", ""))
    known = preview(kind) if kind in kinds_in(FAMILIES) else None
    try:
        return None if known is None else known.config.model_validate(config)
    except ValidationError:  # reported when the model is loaded
        return None


def check_truncated(config: Mapping[str, Any]) -> None:
    """UserError for a generator whose latents cannot be truncated, by the configuration in its checkpoint."""
    options = options_of(config)
    if options is not None and options.not_truncated:
        raise UserError(f"--truncation has no effect on {options.kind}: {options.not_truncated}; leave it out")


def check_stored_images(config: Mapping[str, Any], sha256: str, store: Path) -> None:
    """UserError if a generator draws from stored images, and the store does not have those of this digest."""
    options = options_of(config)
    if options is None or not options.draws_from_images:
        return
    if not (store / "images" / sha256[:NAME]).exists():
        raise not_stored(options.kind, options.derives, sha256)


def not_stored(kind: str, derives: bool, sha256: str) -> UserError:
    """The error for a checkpoint whose images are not available."""
    what = "derives images from its training set, which is" if derives else "draws from images that are"
    return UserError(f"{kind} {what} not available: no image set with SHA-256 {sha256}")


def check_exported(config: Mapping[str, Any]) -> None:
    """UserError for a generator that cannot be exported, by the configuration in its checkpoint."""
    options = options_of(config)
    if options is None:
        return
    reason = "its images are not those of one network" if options.per_class else options.not_exported
    if reason:
        raise UserError(f"a generator of kind {options.kind} cannot be exported: {reason}")


@cache
def _definitions(module: str, names: frozenset[str]) -> dict[str, Any]:
    """Those of the names that a module defines, with what they refer to."""
    spec = find_spec(module)  # imports the packages above it
    if spec is None or spec.origin is None:
        return {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    needed = _closure(tree, names)
    # Registered: pydantic looks up there what annotations refer to.
    preview_module = ModuleType(f"preview of {module}: {', '.join(sorted(names))}")
    sys.modules[preview_module.__name__] = preview_module
    values = preview_module.__dict__
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in LIGHT:
            _execute(node, spec.origin, values)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("augpipe."):
            _import(node, needed, values)
        elif isinstance(node, Definition) and set(_defined(node)) & needed:
            _execute(node, spec.origin, values)
    return {name: values[name] for name in names if name in values}


def _import(node: ast.ImportFrom, needed: set[str], values: dict[str, Any]) -> None:
    """Define the needed names of an import, without importing the module."""
    for alias in node.names:
        if alias.name in needed and alias.asname is None:
            values |= _definitions(str(node.module), frozenset({alias.name}))


def _closure(tree: ast.Module, names: frozenset[str]) -> set[str]:
    """The names, and all that their definitions in the module refer to."""
    refers = {
        name: set(_names_in(node)) for node in tree.body if isinstance(node, Definition) for name in _defined(node)
    }
    needed: set[str] = set()
    waiting = set(names)
    while waiting:
        needed |= waiting
        waiting = set().union(*(refers.get(name, set()) for name in waiting)) - needed
    return needed


def _names_in(node: ast.AST) -> Iterator[str]:
    """Names that are evaluated; the annotations of functions are not."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        if field == "returns" or (isinstance(node, ast.arg) and field == "annotation"):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, ast.AST):
                yield from _names_in(inner)


def _defined(node: Definition) -> Iterator[str]:
    """Names that a statement of a module defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def _execute(node: ast.stmt, file: str, values: dict[str, Any]) -> None:
    tree = ast.Module([node], type_ignores=[])
    flags = __future__.annotations.compiler_flag
    exec(compile(tree, file, "exec", flags, dont_inherit=True), values)  # noqa: S102 (our own files)
