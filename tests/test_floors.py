"""Imports point down the floors; only flows/ knows Prefect and MLflow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "errors": 0, "kinds": 0, "code": 0, "processes": 0, "parallel": 0, "schema": 0, "seeds": 0, "images": 0, "counts": 0,
    "grids": 1, "store": 1, "sources": 1, "intake": 1, "quarantine": 1, "duplicates": 1, "splits": 1, "transforms": 1, "runtime": 1, "nn": 1,
    "launching": 1, "neighbours": 1, "leaks": 1, "weights": 2, "objectives": 3,
    "partition": 2, "generators": 2, "classifiers": 2,
    "checkpoints": 2, "training": 3, "classification": 3,
    "synthesis": 4, "mixing": 4,
    "features": 5, "extractors": 5, "fidelity": 5, "curation": 5, "gates": 5, "scores": 5,
    "judging": 6, "balancing": 6,
    "units": 0, "comparison": 6, "promotion": 6, "resampled": 6, "config": 6, "defaults": 6, "records": 6, "caching": 6, "pruning": 6, "preparing": 6, "generating": 6, "searching": 6, "mixtures": 6, "learning": 6, "scoring": 6, "looking": 6, "measuring": 6, "stages": 6, "inspection": 6, "report": 6,
    "flows": 7,
}  # fmt: skip
FILES = sorted((*ROOT.glob("augpipe/**/*.py"), *ROOT.glob("flows/**/*.py")))


def place(module: str) -> str | None:
    """`augpipe.nn.blocks` → `nn`; None for the package itself and for other libraries."""
    parts = module.split(".")
    if parts[0] == "flows":
        return "flows"
    return parts[1] if parts[0] == "augpipe" and len(parts) > 1 else None


def imported(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file; `from augpipe import x` counts as augpipe.x."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_place(path: Path) -> str | None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return place(".".join(parts if parts[-1] != "__init__" else parts[:-1]))


def violations(path: Path) -> list[str]:
    mine = own_place(path)
    if mine is None:
        return []
    wrong = []
    for module in imported(path):
        theirs = place(module)
        if theirs in FLOORS and theirs != mine and FLOORS[theirs] > FLOORS[mine]:
            wrong.append(f"{path.name} (floor {FLOORS[mine]}) imports {module}")
        if module.split(".")[0] in {"prefect", "mlflow"} and mine != "flows":
            wrong.append(f"{path.name} imports {module} below floor 7")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    assert own_place(path) is None or own_place(path) in FLOORS, f"give {path.name} a floor"
    assert violations(path) == []


def test_an_upward_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "augpipe" / "images.py"
    bad.parent.mkdir()
    bad.write_text("def f():\n    from augpipe import config\n    import mlflow.data\n")
    monkeypatch.setattr("test_floors.ROOT", tmp_path)
    assert len(violations(bad)) == 2
