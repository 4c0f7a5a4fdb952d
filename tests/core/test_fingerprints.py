"""Which code is found to be used, in a package of three lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from augpipe.core import fingerprints as code


@pytest.fixture
def package(tmp_path: Path) -> Path:
    texts = {
        "__init__.py": "",
        "a.py": "from augpipe.inner import b\n",
        "inner/__init__.py": "from augpipe import d\n",
        "inner/b.py": "def late():\n    import augpipe.c\n",
        "c.py": "",
        "d.py": "",
        "pipeline/experiment.py": "import augpipe.d\n",
        "e.py": "from augpipe.pipeline.experiment import X\n",
        "f.py": "from augpipe.inner import name\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "used"),
    [
        ("a", {"a", "inner", "inner.b", "c"}),  # a package's other imports are not its module's
        ("e", {"e", "pipeline", "pipeline.experiment"}),  # not followed
        ("f", {"f", "inner", "d"}),  # of the package itself: what that imports counts
        ("d", {"d"}),
    ],
)
def test_what_a_module_uses(package: Path, module: str, used: set[str]) -> None:
    found = code.used_by([f"augpipe.{module}"], package)
    assert found == {"augpipe", *(f"augpipe.{name}" for name in used)}


def test_code_counts_and_layout_does_not(package: Path) -> None:
    first = code.fingerprint(["augpipe.a"], package)
    (package / "c.py").write_text("# a remark\n\n\n")
    assert code.fingerprint(["augpipe.a"], package) == first
    (package / "c.py").write_text("x = 1\n")
    assert code.fingerprint(["augpipe.a"], package) != first


def test_an_unknown_module_is_named(package: Path) -> None:
    with pytest.raises(ValueError, match=r"no module augpipe\.z"):
        code.fingerprint(["augpipe.z"], package)


def test_modules_that_are_loaded_by_name_are_named_by_who_asks() -> None:
    assert "augpipe.generators.models.acgan" not in code.used_by(["augpipe.pipeline.stages.train_generator"])


def forget() -> None:
    for function in (code._known, code._facts, code._imports):
        function.cache_clear()
    code._used.clear()
    code._parsed.clear()


def test_what_sources_say_is_read_from_the_stored_facts(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process would parse all files again. Facts are of a source, whatever its name and time."""
    monkeypatch.setattr(code, "_FACTS", tmp_path / "facts.json")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    forget()
    try:
        first = code.fingerprint(["augpipe.a"], package)
        facts = json.loads((tmp_path / "facts.json").read_text())
        monkeypatch.delattr(code.ast, "parse")  # no file is parsed again
        forget()
        assert code.fingerprint(["augpipe.a"], package) == first
        monkeypatch.undo()
        monkeypatch.setattr(code, "_FACTS", tmp_path / "facts.json")
        (package / "c.py").write_text("x = 1\n")
        forget()
        changed = code.fingerprint(["augpipe.a"], package)
        assert changed != first
        for damaged in ("", "[]", "{", json.dumps(dict.fromkeys(facts, 1))):
            (tmp_path / "facts.json").write_text(damaged)
            forget()
            assert code.fingerprint(["augpipe.a"], package) == changed
        monkeypatch.setattr(code, "MANY", 1)
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        (tmp_path / "facts.json").write_text(json.dumps({**facts, "old": ["meaning", []]}))
        forget()
        assert code.fingerprint(["augpipe.a"], package) == changed
        stored = json.loads((tmp_path / "facts.json").read_text())
        assert "old" not in stored and len(stored) == len(code._used)
    finally:
        forget()
