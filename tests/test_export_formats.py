"""Formats of exported models that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.export_formats import LIBRARIES, check_format


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.pt").touch()
    with pytest.raises(UserError, match="exists; choose another --out"):
        check_format("torchscript", tmp_path / "there.pt")
    with pytest.raises(UserError, match=r"must be a \.pt2 file for torch-export"):
        check_format("torch-export", tmp_path / "there.pt")


def test_a_format_whose_libraries_are_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, "onnx", ("torch", "no_such_onnx"))
    with pytest.raises(UserError, match=r"--format onnx needs no_such_onnx: pip install 'augpipe\[onnx\]'"):
        check_format("onnx")
