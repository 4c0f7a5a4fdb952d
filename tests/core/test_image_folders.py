"""Image sets as folders: rows kept in place, and sets whose pixels are rows of another."""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.core import image_folders
from augpipe.core.errors import UserError
from augpipe.core.files import digest
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, pixel_digests
from augpipe.core.store import Store, load_images


def written(folder: Path, images: ImageSet) -> Path:
    with image_folders.image_writer(folder, len(images), images.spec) as out:
        out[:] = images.images
    return folder


def file_of(path: Path, images: np.ndarray) -> bytes:
    np.save(path, images)
    return path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_are_kept_in_any_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """The file is the one that NumPy writes of images[rows], to the byte."""
    place = tmp_path_factory.mktemp("rows")
    n = data.draw(st.integers(1, 25))
    images = np.random.default_rng(n).integers(0, 256, (n, 1, 2, 3), np.uint8)
    rows = np.array(data.draw(st.permutations(range(n))), np.int64)[: data.draw(st.integers(0, n))]
    folder = place / "set"
    with image_folders.image_writer(folder, n, ImageSpec(2, 1)) as _:
        pass
    np.save(folder / "images.npy", images)
    image_folders.keep_rows(folder, rows)
    assert (folder / "images.npy").read_bytes() == file_of(place / "expected.npy", images[rows])


def test_a_row_cannot_be_kept_twice(tmp_path: Path, make_shapes) -> None:
    folder = written(tmp_path / "set", make_shapes((3, 2)))
    with pytest.raises(ValueError, match="occurs twice"):
        image_folders.keep_rows(folder, np.array([1, 1]))


def test_rows_of_a_set_are_a_set_without_pixels_of_its_own(tmp_path: Path, make_shapes) -> None:
    store, images = Store(tmp_path), make_shapes((6, 5))
    whole = store.put_images(images)
    part = store.put_rows(whole, 2, 9)
    inner = store.put_rows(part, 1, 4)
    for ref, rows in ((part, np.arange(2, 9)), (inner, np.arange(3, 6))):
        back, expected = load_images(ref), images.take(rows)
        assert isinstance(back.images, np.memmap) and not (ref.path / "images.npy").exists()
        assert np.array_equal(back.images, expected.images)
        assert np.array_equal(back.labels, expected.labels)
        assert np.array_equal(back.digests, expected.digests)
        assert back.table.to_dict("list") == expected.table.to_dict("list")
        assert digest(ref.path) == ref.sha256


def test_the_same_rows_of_other_pixels_are_another_set(tmp_path: Path, make_shapes) -> None:
    store = Store(tmp_path)
    first, second = (store.put_images(make_shapes((3, 3), seed=s)) for s in (0, 1))
    assert store.put_rows(first, 0, 3) != store.put_rows(second, 0, 3)


def test_rows_are_lost_with_the_set_that_holds_them(tmp_path: Path, make_shapes) -> None:
    store = Store(tmp_path)
    whole = store.put_images(make_shapes((3, 2)))
    part = store.put_rows(whole, 0, 3)
    assert store.images(part.sha256) is not None
    whole.path.rename(tmp_path / "gone")
    assert store.images(part.sha256) is None


def test_sets_joined_are_those_of_one_array(tmp_path: Path, make_shapes, monkeypatch) -> None:
    """Block by block, in an order that goes from one to the other and back."""
    monkeypatch.setattr("augpipe.core.store.BLOCK", 3 * 16 * 16)
    store, parts = (Store(tmp_path), [make_shapes((4, 3)), make_shapes((0, 0)), make_shapes((2, 5), seed=1)])
    rows = np.random.default_rng(0).permutation(14)[:11]
    joined = load_images(store.put_joined(parts, rows))
    assert np.array_equal(joined.images, np.concatenate([p.images for p in parts])[rows])
    assert np.array_equal(joined.labels, np.concatenate([p.labels for p in parts])[rows])
    ids = [name for p in parts for name in p.table["id"]]
    assert joined.table["id"].tolist() == [ids[row] for row in rows]


def test_sets_of_earlier_versions_have_no_digests(tmp_path: Path, make_shapes) -> None:
    images = make_shapes((3, 2))
    ref = Store(tmp_path).put_images(images)
    (ref.path / "digests.npy").unlink()
    assert np.array_equal(load_images(ref.path).digests, images.digests)


def test_more_images_than_the_disk_has_room_for_are_refused_before_a_folder_is_made(tmp_path) -> None:
    with (
        pytest.raises(UserError, match=r"10,000,000,000,000 images of 32 px need 10,240,000\.0 GB, and .* free"),
        image_folders.image_writer(tmp_path / "a" / "b", 10**13, ImageSpec(32, 1)),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_released_pages_are_no_memory_of_the_process_and_still_written(tmp_path: Path) -> None:
    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    spec = ImageSpec(channels=1, size=64)
    with image_folders.image_writer(tmp_path / "set", 5000, spec) as pool:  # 20 MB
        before = resident()
        pool[:] = 7
        written = resident()
        image_folders.release(pool)
        assert written - before > 15 > resident() - before + 10
        assert (pool[::999] == 7).all()
    assert (np.load(tmp_path / "set" / "images.npy", mmap_mode="r")[-1] == 7).all()
    image_folders.release(np.zeros((2, 1, 4, 4), np.uint8))  # no map: nothing to do


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (0, 3, 4, 4)])
def test_digests_are_of_each_images_bytes_in_order(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for same in (images, np.asfortranarray(images)):
        digests = pixel_digests(same)
        expected = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        assert digests.astype("<u8").tobytes() == b"".join(expected) and digests.shape == (len(images), 2)
