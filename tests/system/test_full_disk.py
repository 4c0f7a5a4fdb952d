"""A run on a disk that fills up, and goes on when there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tiny import CONFIG, ONE, Ran, augpipe, begin, until

from augpipe.core.files import digest
from augpipe.core.refs import Ref

SETS = [part for one in ONE for part in ("--set", one)]

SIZE = 40


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of SIZE MB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


# What is named by its content; `features` are named by what they follow from.
KINDS = (
    "checks",
    "classifiers",
    "fidelity",
    "funnels",
    "generators",
    "histories",
    "images",
    "previews",
    "probabilities",
    "quarantine",
    "scores",
    "searches",
)


def intact(store: Path) -> int:
    """How many files and folders a store has, each with the content that its name says."""
    found = 0
    for kind in KINDS:
        for one in (store / kind).glob("*"):
            assert not one.name.startswith("."), one
            sha = digest(one)
            assert one.name.split(".")[0] == sha[:20], one
            found += Ref(path=one, sha256=sha).path.exists()
    return found


def fill(disk: Path) -> Path:
    """Write a file until the disk is full."""
    stone = disk / "stone"
    with stone.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    return stone


def test_a_disk_that_fills_up(tmp_path: Path, small: Path, single: Ran) -> None:
    place = tmp_path / "work"
    place.mkdir()
    (place / "tiny.yaml").write_text(CONFIG)
    home = {"AUGPIPE_HOME": str(small / "home")}
    process = begin(place, "run", "tiny.yaml", "--out", "out", *SETS, **home)
    until(process, "generator smote")  # results are stored, and most are still to come
    stone = fill(small)
    said = process.communicate(300)[0]
    assert process.returncode == 2, said[-3000:]
    last = said.strip().splitlines()[-1]
    assert last.startswith("augpipe: no space is left") and "Run the same command again to continue" in last, last
    assert "Traceback" not in said, said[-3000:]
    assert not (place / "out").exists()
    kept = intact(small / "home" / "store")
    stone.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
    done = augpipe(place, "run", "tiny.yaml", "--out", "out", *SETS, **home)
    assert done.status == 0, done.err[-3000:]
    assert all(list((small / "home" / "store" / kind).iterdir()) for kind in KINDS)
    assert (done.folder / "scores.csv").read_bytes() == (single.folder / "scores.csv").read_bytes()
    assert 0 < kept < intact(small / "home" / "store")
