"""Fingerprint of the code that a result depends on: modules and everything they import from this package.

Imports are read from the source, at any level of a file; modules loaded by name at run time (generator families) are
passed by the caller. Comments and layout do not count. A process runs the code it has imported: if a file is edited
later, the code behind the results of this process is unknown.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from augpipe.core.machine import installed

PACKAGE: Final = "augpipe"
ROOT: Final = Path(__file__).resolve().parents[1]
# The schema of all settings imports the options of every package. A stage depends on the values that it reads.
NOT_FOLLOWED: Final = frozenset({"augpipe.pipeline.experiment"})
LIBRARIES: Final = (
    "albucore",
    "albumentations",
    "imbalanced-learn",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "torch-fidelity",
    "torchvision",
)


class ChangedError(RuntimeError):
    """The package was edited after this process started."""


@cache
def libraries() -> Mapping[str, str]:
    """Versions of the installed libraries that results depend on."""
    return installed(LIBRARIES)


def _states(root: Path) -> dict[Path, int]:
    """Modification time (ns) of each file of the package."""
    return {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*.py"))}


_AT_START: Final = _states(ROOT)


def fingerprint(modules: Iterable[str], root: Path = ROOT) -> str:
    """SHA-256 over the code of the modules and their imports; ValueError for an unknown module.

    Raises ChangedError if one of their files was edited after this process started.
    """
    digest = hashlib.sha256()
    for module in sorted(used_by(modules, root)):
        path = _file(module, root)
        if path is None:  # never: checked by `used_by`
            continue
        changed = path.stat().st_mtime_ns
        if root == ROOT and _AT_START.get(path) != changed:
            raise ChangedError(f"{path} was edited after this process started")
        digest.update(f"{module} {_meaning(path, changed)}\n".encode())
    return digest.hexdigest()


def used_by(modules: Iterable[str], root: Path = ROOT) -> frozenset[str]:
    """The modules and everything they import from the package, directly or indirectly.

    Parent packages count with their own source; their imports count only if the package itself is imported.
    """
    pending, modules_used = list(modules), set[str]()
    while pending:
        module = pending.pop()
        if module in modules_used:
            continue
        path = _file(module, root)
        if path is None:
            raise ValueError(f"no module {module}")
        modules_used.add(module)
        if module not in NOT_FOLLOWED:
            pending += _imports(path, path.stat().st_mtime_ns, root)
    return frozenset(modules_used | {parent for module in modules_used for parent in _parents(module)})


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _file(module: str, root: Path) -> Path | None:
    """File of the module; None if the name is not a module of the package."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return None
    place = root.joinpath(*parts)
    for path in (place / "__init__.py", place.with_suffix(".py") if parts else place):
        if path.is_file():
            return path
    return None


@cache
def _tree(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def _meaning(path: Path, changed: int) -> str:
    return hashlib.sha256(ast.dump(_tree(path, changed)).encode()).hexdigest()


@cache
def _imports(path: Path, changed: int, root: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports;
    `from augpipe.x import y` counts as augpipe.x.y if that is a module.
    """
    imported: set[str] = set()
    for node in ast.walk(_tree(path, changed)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if _file(alias.name, root)}
        elif isinstance(node, ast.ImportFrom) and node.module and _file(node.module, root):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if _file(name, root)}
            imported |= modules
            if modules != inner:
                imported.add(node.module)
    return tuple(sorted(imported))
