"""The source is read once for all that is done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from augpipe.core.images import ImageSet
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import build
from flows.source_splits import splits_by_seed


def test_a_source_that_was_read_is_not_read_again(
    tmp_path: Path, make_shapes: Callable[..., ImageSet], make_folder: Callable[..., Path]
) -> None:
    pictures = make_folder(tmp_path / "pictures", make_shapes((12, 12)))
    values = {
        "name": "read",
        "source": {"kind": "folder", "path": str(pictures)},
        "image": {"size": 16, "channels": 1},
        "arms": [{"name": "real"}],
        "baseline": "real",
        "seeds": 2,
    }
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    alike = splits_by_seed(build(values), context, (0,))
    each = splits_by_seed(build({**values, "resplit": True}), context, (0, 1))
    assert each[0].splits != each[1].splits
    pictures.rename(tmp_path / "gone")
    assert splits_by_seed(build(values), context, (0, 1), alike) == {0: alike[0], 1: alike[0]}
    assert splits_by_seed(build({**values, "resplit": True}), context, (1,), each) == {1: each[1]}
