"""Fingerprint of the code that a result depends on: modules and everything they import from this package.

Imports are read from the source, at any level of a file; modules loaded by name at run time (generator families) are
passed by the caller. Comments and layout do not count. A process runs the code it has imported: if a file is edited
later, the code behind the results of this process is unknown.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from augpipe.core.machine import installed

PACKAGE: Final = "augpipe"
ROOT: Final = Path(__file__).resolve().parents[1]
# The schema of all settings imports the options of every package. A stage depends on the values that it reads.
NOT_FOLLOWED: Final = frozenset({"augpipe.pipeline.experiment"})
MANY: Final = 2000  # facts of files that are stored; of edited files they would grow without end
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
    if root != ROOT:
        return _digest(used_by(modules, root), root)
    names = frozenset(modules)
    for path in _files(names):
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            changed = 0
        if _AT_START.get(path) != changed:
            raise ChangedError(f"{path} was edited after this process started")
    return _at_start(names)


@cache
def _files(modules: frozenset[str]) -> tuple[Path, ...]:
    """The files that the modules depend on. An edit of one of them may change which; `fingerprint` then raises."""
    paths = (_file(module, ROOT) for module in used_by(modules))
    return tuple(sorted(path for path in paths if path is not None))


@cache
def _at_start(modules: frozenset[str]) -> str:
    """The fingerprint of files that have not changed since; a run of many arms asks for it hundreds of times."""
    return _digest(used_by(modules), ROOT)


def _digest(used: Iterable[str], root: Path) -> str:
    digest = hashlib.sha256()
    for module in sorted(used):
        path = _file(module, root)
        if path is None:  # never: checked by `used_by`
            continue
        digest.update(f"{module} {_facts(path, path.stat().st_mtime_ns).meaning}\n".encode())
    if _parsed:
        _store()
        _parsed.clear()
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


@dataclass(frozen=True)
class _Facts:
    """What a source says. meaning: SHA-256 of its syntax tree. names: what it imports from this package: modules,
    and the names taken from each; none for `import module`.
    """

    meaning: str
    names: tuple[tuple[str, tuple[str, ...]], ...]


# Facts by the SHA-256 of the source, in a file beside the compiled module: parsing all files takes a second of each
# process. As with compiled modules, `python -B` writes none.
_FACTS: Final = Path(cache_from_source(__file__)).with_suffix(".json")


@cache
def _known() -> dict[str, _Facts]:
    """The stored facts, and those that this process has added; empty if none are stored, or they are damaged."""
    try:
        entries = json.loads(_FACTS.read_bytes())
        return {
            source: _Facts(str(meaning), tuple((str(module), tuple(map(str, inner))) for module, inner in names))
            for source, (meaning, names) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _store() -> None:
    """Store the known facts; all but those of now are forgotten if there are many."""
    if sys.dont_write_bytecode:
        return
    recent = {key: facts for key, facts in _known().items() if len(_known()) <= MANY or key in _used}
    draft = _FACTS.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # a folder that cannot be written to
        entries = {source: [facts.meaning, facts.names] for source, facts in recent.items()}
        draft.write_text(json.dumps(entries), encoding="utf-8")
        draft.replace(_FACTS)


# SHA-256 of the sources that this process has read, and of those that it parsed and has not stored.
_used: set[str] = set()
_parsed: set[str] = set()


@cache
def _facts(path: Path, changed: int) -> _Facts:
    source = path.read_bytes()
    key = hashlib.sha256(source).hexdigest()
    _used.add(key)
    if key not in _known():
        _parsed.add(key)
        tree = ast.parse(source)
        _known()[key] = _Facts(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(_names(tree)))
    return _known()[key]


def _names(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.module, tuple(alias.name for alias in node.names)


@cache
def _imports(path: Path, changed: int, root: Path) -> tuple[str, ...]:
    """Modules of the package that a file imports;
    `from augpipe.x import y` counts as augpipe.x.y if that is a module.
    """
    imported: set[str] = set()
    for module, names in _facts(path, changed).names:
        if not _file(module, root):
            continue
        inner = {f"{module}.{name}" for name in names}
        modules = {name for name in inner if _file(name, root)}
        imported |= modules
        if not names or modules != inner:
            imported.add(module)
    return tuple(sorted(imported))
