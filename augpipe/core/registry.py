"""How a configuration finds code: by file name across kinds, by decorator within a file or package."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from augpipe.core.errors import unknown


def kinds_in(package: str) -> tuple[str, ...]:
    """Names of the modules in `package`: each public one is a kind."""
    paths = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_")))


def load_kind(package: str, kind: object, what: str) -> ModuleType:
    """The module `package.kind`; UserError lists the kinds."""
    have = kinds_in(package)
    if kind not in have:
        raise unknown(what, kind, have)
    return importlib.import_module(f"{package}.{kind}")


def registered_in(file: Path, register: str) -> tuple[str, ...]:
    """Names that a file's calls of `register` give as texts, in their order; nothing is imported.

    A configuration is checked by them before what computes is imported, which takes seconds.
    """
    calls: list[ast.AST] = []
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            calls += statement.decorator_list
        elif isinstance(statement, ast.Expr):
            calls += ast.walk(statement)
    ours = [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == register]
    names = [argument.value for call in ours for argument in call.args if isinstance(argument, ast.Constant)]
    return tuple(name for name in names if isinstance(name, str))


T = TypeVar("T")


class Registry(Generic[T]):
    """Names → values within one file: `@registry.register` on a function or class named as the entry."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter a function or class under `name`."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.what} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def __getitem__(self, name: object) -> T:
        if not isinstance(name, str) or name not in self._items:
            raise unknown(self.what, name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and values in the order of their registration."""
        return iter(self._items.items())
