"""Folders that can be an out folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.report.out import check_out, check_place


def test_places_that_cannot_be_an_out_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home" / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    images = tmp_path / "images"
    mine = tmp_path / "mine"
    for folder in (images, mine / "samples"):
        folder.mkdir(parents=True)
    (mine / "samples" / "mine.txt").write_text("dear")
    refused = {
        tmp_path / "file": "is a file",
        tmp_path / "file" / "x": "is a file",
        mine: "holds 'samples/mine.txt', which no run has written",
        images / "out": "lies in the image folder",
        tmp_path / "home": "holds AUGPIPE_HOME",
        tmp_path / "home" / "data": "holds AUGPIPE_HOME",
        Path(): "holds",
        tmp_path: "holds",
    }
    for out, told in refused.items():
        with pytest.raises(UserError, match=re.escape(told)):
            check_out(out, [images])
    check_out(tmp_path / "new" / "deep", [images])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "images", "mine"]
    assert (mine / "samples" / "mine.txt").read_text() == "dear"
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()  # the working directory, during a run
    check_out(tmp_path / "new" / "deep", [images])


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc on this system")
    with pytest.raises(UserError, match="cannot write to the out folder"):
        check_place(Path("/proc/augpipe/out"), (), "the out folder")
