"""Which code a result follows from: a fingerprint of modules and of all that they import from this package.

Imports are read from the source, wherever in a file they stand; what is loaded by name at run time (a generator's family)
is named by who asks. Comments and layout do not count. A process runs what it has imported: once a file is edited after
that, nobody can say what a result of this process follows from.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGE: Final = "augpipe"
ROOT: Final = Path(__file__).resolve().parents[1]
# The schema of all settings imports the options of every package. A stage depends on the values that it reads.
NOT_FOLLOWED: Final = frozenset({"augpipe.pipeline.experiment"})
LIBRARIES: Final = (
    "albucore", "albumentations", "imbalanced-learn", "opencv-python-headless", "pandas", "pillow",
    "scikit-image", "scikit-learn", "scipy", "torch-fidelity", "torchvision",
)  # fmt: skip


class ChangedError(RuntimeError):
    """The package was edited since this process began."""


@cache
def libraries() -> Mapping[str, str]:
    """Versions of the libraries whose code results follow from, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _states(root: Path) -> dict[Path, int]:
    """When each file of the package was changed."""
    return {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*.py"))}


_BEGUN: Final = _states(ROOT)


def fingerprint(modules: Iterable[str], root: Path = ROOT) -> str:
    """SHA-256 over the code of the modules and of what they use; ValueError for one there is not.

    ChangedError where one of their files is not what it was when this process began.
    """
    whole = hashlib.sha256()
    for module in sorted(used_by(modules, root)):
        path = _file(module, root)
        if path is None:  # never: `used_by` has looked
            continue
        changed = path.stat().st_mtime_ns
        if root == ROOT and _BEGUN.get(path) != changed:
            raise ChangedError(f"{path} was edited since this process began")
        whole.update(f"{module} {_meaning(path, changed)}\n".encode())
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
