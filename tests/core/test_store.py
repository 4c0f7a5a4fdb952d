from __future__ import annotations

import multiprocessing
import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from augpipe.core.files import beside, digest, write_json
from augpipe.core.store import Store, load_images, load_state, load_table


def test_an_image_set_comes_back_memory_mapped_and_equal(tmp_path: Path, make_shapes) -> None:
    images = make_shapes((5, 3), channels=3)
    ref = Store(tmp_path).put_images(images)
    back = load_images(ref)
    assert isinstance(back.images, np.memmap)
    assert np.array_equal(back.images, images.images) and np.array_equal(back.labels, images.labels)
    assert back.classes == images.classes
    assert back.table.to_dict("list") == images.table.to_dict("list")
    assert digest(ref.path) == ref.sha256


def test_equal_content_is_stored_once(tmp_path: Path, make_shapes) -> None:
    store = Store(tmp_path)
    first, second = store.put_images(make_shapes((2, 2))), store.put_images(make_shapes((2, 2)))
    other = store.put_images(make_shapes((2, 2), seed=1))
    assert first == second != other
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_an_empty_set_survives(tmp_path: Path, make_shapes) -> None:
    none = make_shapes((2, 2)).take(np.array([], dtype=np.int64))
    assert len(load_images(Store(tmp_path).put_images(none))) == 0


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"x": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_state(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_a_table_keeps_every_digit(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"class": ["", "NA", "1,5"], "value": [0.1 + 0.2, 1e-300, 1 / 3]})
    back = load_table(Store(tmp_path).put_table("t", table))
    assert back["class"].tolist() == ["", "NA", "1,5"]
    assert back["value"].tolist() == table["value"].tolist()


def test_equal_states_are_stored_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    refs = {store.put_state("s", {"w": torch.arange(5), "n": 3}) for _ in range(3)}
    assert len(refs) == 1
    assert load_state(refs.pop())["w"].tolist() == [0, 1, 2, 3, 4]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with beside(tmp_path / "link") as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "new").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


def test_what_has_a_key_is_made_once(tmp_path: Path) -> None:
    store, made = Store(tmp_path), []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"x": torch.arange(3)}

    first, again = store.keyed("features", "a", make), store.keyed("features", "a", make)
    assert made == [1] and torch.equal(first["x"], again["x"])
    store.keyed("features", "b", make)
    assert made == [1, 1]
    assert sorted(p.name[:2] for p in (tmp_path / "features").iterdir()) == ["a-", "b-"]


def test_what_is_not_made_leaves_nothing_under_its_key(tmp_path: Path) -> None:
    def fail() -> dict[str, torch.Tensor]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Store(tmp_path).keyed("features", "a", fail)
    assert not list(tmp_path.rglob("*.pt"))


def test_content_is_found_by_its_digest(tmp_path: Path, make_shapes) -> None:
    store = Store(tmp_path)
    ref = store.put_images(make_shapes((2, 2)))
    assert store.find("images", ref.sha256) == ref.path
    images = store.images(ref.sha256)
    assert images is not None and np.array_equal(images.images, make_shapes((2, 2)).images)
    assert store.images("0" * 64) is None and store.find("images", "0" * 64) is None


def test_two_processes_store_at_once(tmp_path: Path) -> None:
    """Each makes and removes drafts in the folder in which the other stores; equal content comes from both."""
    start = multiprocessing.get_context("fork").Barrier(2)

    def work(which: int) -> None:
        try:
            start.wait(30)
            for i in range(150):
                value = {"n": i, "which": which if i % 2 else 0}
                Store(tmp_path).put("values", partial(write_json, value=value), ".json")
            os._exit(0)
        finally:
            os._exit(1)

    pids = []
    for which in range(2):
        if (pid := os.fork()) == 0:
            work(which)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert len(list((tmp_path / "values").iterdir())) == 75 + 2 * 75


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the file, then its name, then the folder's entry: a record that names it never stands for less."""
    done, fsync, rename = [], os.fsync, os.rename

    def synced(number: int) -> None:
        fsync(number)
        done.append(("synced", Path(f"/proc/self/fd/{number}").readlink()))

    def renamed(source: Path, target: Path) -> None:
        done.append(("named", Path(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    ref = Store(tmp_path).put("values", partial(write_json, value={"a": 1}), ".json")
    (kind, draft), *rest = done
    assert kind == "synced" and draft.parent == ref.path.parent and draft != ref.path
    assert rest == [("named", ref.path), ("synced", ref.path.parent)]
