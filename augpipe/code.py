"""Which code a result follows from: a fingerprint of modules and of all that they import from this package.

Imports are read from the source, wherever in a file they stand; what is loaded by name at run time (a generator's family)
is named by who asks. Comments and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

PACKAGE: Final = "augpipe"
ROOT: Final = Path(__file__).resolve().parent
# The schema of all settings imports all that has some. Who reads settings follows from their values.
NOT_FOLLOWED: Final = frozenset({"augpipe.config"})


def fingerprint(modules: Iterable[str], root: Path = ROOT) -> str:
    """SHA-256 over the code of the modules and of what they use; ValueError for one there is not."""
    whole = hashlib.sha256()
    for module in sorted(used_by(modules, root)):
        path = _file(module, root)
        if path is not None:  # always: `used_by` has looked
            whole.update(f"{module} {_meaning(path, path.stat().st_mtime_ns)}\n".encode())
    return whole.hexdigest()


def used_by(modules: Iterable[str], root: Path = ROOT) -> frozenset[str]:
    """The modules and all that they import of the package, directly or not.

    The packages that a module lies in count with their own text; what they import besides counts only where they are
    imported themselves.
    """
    open_, found = list(modules), set[str]()
    while open_:
        module = open_.pop()
        if module in found:
            continue
        path = _file(module, root)
        if path is None:
            raise ValueError(f"there is no module {module}")
        found.add(module)
        if module not in NOT_FOLLOWED:
            open_ += _imports(path, path.stat().st_mtime_ns, root)
    return frozenset(found | {parent for module in found for parent in _parents(module)})


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _file(module: str, root: Path) -> Path | None:
    """The module's file; None where the name is no module of the package."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return None
    place = root.joinpath(*parts)
    for path in (place / "__init__.py", place.with_suffix(".py") if parts else place):
        if path.is_file():
            return path
    return None


# Of one state of the file: a process that lives through an edit sees the new one.
@cache
def _tree(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def _meaning(path: Path, changed: int) -> str:
    return hashlib.sha256(ast.dump(_tree(path, changed)).encode()).hexdigest()


@cache
def _imports(path: Path, changed: int, root: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports; `from augpipe.x import y` is of augpipe.x.y where that is a module."""
    found: set[str] = set()
    for node in ast.walk(_tree(path, changed)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if _file(alias.name, root)}
        elif isinstance(node, ast.ImportFrom) and node.module and _file(node.module, root):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if _file(name, root)}
            found |= modules
            if modules != inner:
                found.add(node.module)
    return tuple(sorted(found))
