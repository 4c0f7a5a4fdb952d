"""References below a store, and rows of another set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from augpipe.core.refs import Ref, Rows, is_stored, rows_of
from augpipe.core.store import Store, load_images


def test_a_ref_below_a_store_is_written_relative_and_read_from_another_root() -> None:
    ref = Ref(path=Path("/one/store/images/abc"), sha256="0" * 64)
    plain = ref.model_dump(mode="json", context={"store": Path("/one/store")})
    assert plain["path"] == "images/abc"
    moved = Ref.model_validate(plain, context={"store": Path("/two")})
    assert moved.path == Path("/two/images/abc")


def test_rows_are_stored_while_the_set_that_holds_them_is(tmp_path: Path, make_shapes) -> None:
    store, images = Store(tmp_path), make_shapes((4, 3))
    whole = store.put_images(images)
    part = store.put_rows(whole, 1, 6)
    again = store.put_rows(part, 1, 3)  # counted from the first row of `part`
    assert rows_of(again.path) == Rows(whole.sha256, 2, 4) and rows_of(whole.path) is None
    assert np.array_equal(load_images(again).images, images.images[2:4])
    assert all(is_stored(ref.path, ref.sha256) for ref in (whole, part, again))
    shutil.rmtree(whole.path)
    assert not any(is_stored(ref.path, ref.sha256) for ref in (whole, part, again))
