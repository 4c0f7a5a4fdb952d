"""Damaged content of the store is noticed at its first use in a process, moved away and stored again."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from augpipe.core import integrity
from augpipe.core.errors import RunError, UserError
from augpipe.core.files import digest, write_json
from augpipe.core.refs import Ref, is_stored
from augpipe.core.store import Store, load_images, load_table


def flip(path: Path, at: int = -1) -> None:
    """Change one bit and keep the modification time, as a failing disk does; what follows is as in a new process."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for known in (path, path.parent):
        integrity._compared.pop(known, None)


def json_of(store: Store) -> Ref:
    return store.put("values", partial(write_json, value={"a": 1}), ".json")


def test_content_is_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marking it as used is no change; a later write is."""
    compared: list[Path] = []

    def counted(path: Path) -> str:
        compared.append(path)
        return digest(path)

    monkeypatch.setattr(integrity, "digest", counted)
    ref = json_of(Store(tmp_path))
    for _ in range(3):
        assert is_stored(ref.path, ref.sha256)
    assert compared == [ref.path]
    ref.path.write_text("other")
    assert not is_stored(ref.path, ref.sha256) and len(compared) == 2


def test_damaged_content_is_moved_away_and_stored_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    ref = json_of(store)
    flip(ref.path)
    with caplog.at_level(logging.WARNING, "augpipe"):
        assert json_of(store) == ref
    assert digest(ref.path) == ref.sha256
    (kept,) = (tmp_path / integrity.DAMAGED).iterdir()
    assert str(ref.path) in caplog.text and str(kept) in caplog.text


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "classes.json", "table.parquet", "digests.npy"])
def test_each_file_of_a_set_counts_also_for_rows_of_it(tmp_path: Path, make_shapes, name: str) -> None:
    store, images = Store(tmp_path), make_shapes((4, 3))
    whole = store.put_images(images)
    part = store.put_rows(whole, 1, 5)
    flip(whole.path / name)
    with pytest.raises(RunError, match="damaged or missing"):
        load_images(part)
    assert store.put_images(images) == whole
    assert np.array_equal(load_images(part).images, images.images[1:5])


def test_damaged_content_that_cannot_be_moved_is_an_error(
    tmp_path: Path, make_shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's folder in a shared store: it is not given out as stored."""
    store, images = Store(tmp_path), make_shapes((3, 2))
    ref = store.put_images(images)
    flip(ref.path / "labels.npy")

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(integrity.os, "rename", refuse)
    with pytest.raises((UserError, OSError)):
        store.put_images(images)


def test_a_damaged_table_is_not_read(tmp_path: Path, make_shapes) -> None:
    ref = Store(tmp_path).put_table("scores", make_shapes((2, 2)).table)
    flip(ref.path, 40)
    with pytest.raises(RunError, match="damaged"):
        load_table(ref)


def test_what_has_a_key_is_made_again_if_damaged(tmp_path: Path) -> None:
    import torch

    store = Store(tmp_path)
    store.keyed("features", "ab", lambda: {"x": torch.zeros(4)})
    (path,) = (tmp_path / "features").iterdir()
    flip(path, 300)
    assert store.keyed("features", "ab", lambda: {"x": torch.ones(4)})["x"].sum() == 4


def test_what_another_process_replaced_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read before, and is whole now."""
    ref = json_of(Store(tmp_path))
    good = ref.path.read_bytes()
    flip(ref.path)

    def slow(path: Path) -> str:
        damaged = digest(path)
        path.unlink()
        path.write_bytes(good)
        return damaged

    monkeypatch.setattr(integrity, "digest", slow)
    assert not integrity.intact(ref.path, ref.sha256)
    monkeypatch.undo()
    assert is_stored(ref.path, ref.sha256) and not (tmp_path / integrity.DAMAGED).exists()
