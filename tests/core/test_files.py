"""Files that are written beside their place: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.core.files import beside


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError, match="mid-way"), beside(target) as draft:
        draft.mkdir()
        (draft / "new").write_text("new")
        raise RuntimeError("mid-way")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (target / "old").read_text() == "old"
    with beside(target) as draft:
        draft.mkdir()
        (draft / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"), beside(tmp_path / "file" / "out"):
        pass


def test_a_full_disk_is_the_users_to_mend() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with (
        pytest.raises(UserError, match="No space left"),
        beside(Path("/dev/shm/augpipe-full")),
        Path("/dev/full").open("w") as stream,
    ):
        stream.write("x" * 100_000)
