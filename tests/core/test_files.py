"""Files that are written beside their place: whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.core.files import beside, scratch, temporary


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
    with (
        pytest.raises(UserError, match=r"file cannot be a folder: .*file is a file; move it away"),
        beside(tmp_path / "file" / "out"),
    ):
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


def killed_while(action: str, place: Path) -> None:
    """A process that replaces the folder `out` by one with a file `new`, and is killed at this call of os or ctypes."""
    code = f"""
import os, signal
from pathlib import Path
from augpipe.core import files
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
{action}
with files.beside(Path({str(place / "out")!r})) as draft:
    draft.mkdir()
    (draft / "new").write_text("new")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL


def replace(place: Path) -> None:
    with beside(place / "out") as draft:
        draft.mkdir()
        (draft / "newer").write_text("")


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("files._exchange = die", ["old"]),  # before anything is renamed
        ("files._remove = die", ["new"]),  # after the exchange
        ("files._exchange = lambda *_: False; files.shutil.rmtree = die", ["new"]),
        # Between the two renames, where a system cannot exchange: the next call puts the old one back first.
        (
            "files._exchange = lambda *_: False; rename = os.rename; n = []\n"
            "def second(*a):\n    n.append(1)\n    return die() if len(n) == 2 else rename(*a)\n"
            "os.rename = second",
            None,
        ),
    ],
)
def test_a_kill_leaves_one_folder_or_the_other(tmp_path: Path, action: str, left: list[str] | None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    killed_while(action, tmp_path)
    assert left is None or [p.name for p in out.iterdir()] == left
    with pytest.raises(RuntimeError, match="stop"), beside(out) as draft:
        assert [p.name for p in out.iterdir()] == (left or ["old"])
        draft.mkdir()
        raise RuntimeError("stop")
    replace(tmp_path)
    assert [p.name for p in out.iterdir()] == ["newer"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no draft of the killed one either


def test_a_draft_in_use_is_not_swept(tmp_path: Path) -> None:
    with beside(tmp_path / "out") as draft:
        draft.mkdir()
        with beside(tmp_path / "out") as other:
            other.mkdir()
            assert draft.is_dir()
    assert (tmp_path / "out").is_dir()
    foreign = tmp_path / ".out.deadbeef-1-2-3.tmp"
    foreign.touch()
    replace(tmp_path)
    assert foreign.exists()  # of another machine


def test_the_scratch_folder_of_a_killed_process_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold images; what is in use stays."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    killed = """
import os, signal
from augpipe.core.files import scratch
with scratch("augpipe-x") as folder:
    (folder / "1.png").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert len(list(tmp_path.rglob("1.png"))) == 1
    with scratch("augpipe-x") as one, scratch("augpipe-x") as other:
        assert one.stat().st_mode & 0o777 == 0o700
        assert {one, other} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_deleted_folder_of_temporary_files_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with temporary("augpipe-x-") as folder:
        assert Path(folder).parent == tmp_path / "gone" and Path(folder).name.startswith("augpipe-x-")
    assert not list((tmp_path / "gone").iterdir())
