"""The listing of a second test set: in the source's classes and ids of its own, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import noise
from pydantic import TypeAdapter

from augpipe.core.errors import UserError
from augpipe.data.shift_listing import naming_shift, shift_listing
from augpipe.data.sources import Source


def with_shift(folder: Path, *labels: str) -> Source:
    """A source whose second test set has an image of each label."""
    np.savez(folder / "shift.npz", images=noise(0, len(labels), 16, 16), labels=np.array(labels))
    shift = {"kind": "arrays", "path": str(folder / "shift.npz")}
    return TypeAdapter(Source).validate_python({"kind": "arrays", "path": "source.npz", "shift": shift})


def test_labels_are_of_the_sources_classes(tmp_path: Path) -> None:
    source = with_shift(tmp_path, "cat", "dog", "cow", "dog")
    listing = shift_listing(source, ("dog", "cat"), min_images=2)
    assert listing is not None and listing.classes == ("dog", "cat")
    assert listing.labels.tolist() == [1, 0, 0]  # without cow, which the source may have left out as too small
    assert list(listing.ids) == [f"shift/images/{row:06d}" for row in (0, 1, 3)]
    alone = TypeAdapter(Source).validate_python({"kind": "arrays", "path": "source.npz"})
    assert shift_listing(alone, ("dog", "cat")) is None


def test_other_classes_than_the_sources_are_refused(tmp_path: Path) -> None:
    source = with_shift(tmp_path, "cat", "dog", "cow")
    with pytest.raises(UserError, match=r"source\.shift has classes that the source lacks, cow; it needs the classes"):
        shift_listing(source, ("cat", "dog"))
    with pytest.raises(UserError, match=r"source\.shift has no image of owl; it needs the classes .*, cat, owl, under"):
        shift_listing(source, ("cat", "owl"), min_images=2)


def test_an_error_names_the_second_set(tmp_path: Path) -> None:
    source = with_shift(tmp_path, "cat", "dog")
    (tmp_path / "shift.npz").unlink()
    with pytest.raises(UserError, match=r"^source\.shift: .*shift\.npz"):
        shift_listing(source, ("cat", "dog"))
    with pytest.raises(UserError, match=r"^source\.shift: too few$"), naming_shift():
        raise UserError("too few")
