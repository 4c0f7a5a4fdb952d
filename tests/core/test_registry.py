from __future__ import annotations

from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.core.registry import Registry, kinds_in, load_kind, registered_in


def test_kinds_are_the_files_of_a_package() -> None:
    assert kinds_in("augpipe.generators.models")[:3] == ("acgan", "bagan", "cgan")
    with pytest.raises(UserError, match=r"unknown generator '\.\./evil'; choose from acgan, bagan"):
        load_kind("augpipe.generators.models", "../evil", "generator")
    with pytest.raises(UserError, match="unknown source '_pictures'"):
        load_kind("augpipe.data.sources", "_pictures", "source")


def test_registry() -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("one")(1)
    assert list(registry) == ["one"] and registry["one"] == 1
    with pytest.raises(ValueError, match="twice"):
        registry.register("one")(2)
    with pytest.raises(UserError, match=r"unknown thing 'on' \(did you mean 'one'\?\); choose from one"):
        registry["on"]


def test_names_are_read_from_calls_and_nothing_runs(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "import nowhere\n"
        "@things.register('a', 'b', least=3)\ndef a(): pass\n"
        "@others.register('x')\n@things.register('c')\nclass C: pass\n"
        "things.register('d')(a)\nregister('y')\n"
    )
    assert registered_in(file, "things.register") == ("a", "b", "c", "d")
    assert registered_in(file, "register") == ("y",)
