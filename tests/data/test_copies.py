"""Mirrored, turned, shifted, cropped and resized copies are found, and other pictures are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pictures import photographs
from PIL import Image, ImageFilter, ImageOps

from augpipe.core.image_spec import ImageSpec
from augpipe.data.copies import transformed_copies
from augpipe.data.sources._pictures import read

FILTER = Image.Resampling.BILINEAR


def pieces() -> list[Image.Image]:
    """Grey pieces of two photographs that do not overlap, without the even sky."""
    every = [piece.convert("L") for piece in photographs()]
    return [piece for piece in every if np.asarray(piece).std() > 25]


def thumbs(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(p.resize((32, 32), Image.Resampling.LANCZOS)) for p in pictures])


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "quarter turn": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "three quarters and mirrored": lambda p: ImageOps.mirror(p.rotate(270)),
    "shifted": lambda p: p.crop((12, 9, 140, 140)).resize((128, 131), FILTER),
    "cropped": lambda p: p.crop((14, 4, 136, 126)),
    "turned by 5 degrees": lambda p: p.rotate(5, FILTER).crop((8, 8, 132, 132)),
    "mirrored and brighter": lambda p: ImageOps.mirror(p).point(lambda v: 0.8 * v + 40),
    "mirrored and blurred": lambda p: ImageOps.mirror(p.filter(ImageFilter.GaussianBlur(2))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_transformed_copies_of_photographs_are_found_and_nothing_else(change: str) -> None:
    originals = pieces()
    n = len(originals)
    assert n == 19
    found = transformed_copies(thumbs([CHANGES[change](p) for p in originals]), thumbs(originals))
    assert (found[:, 0] == found[:, 1]).all()
    # Some pieces are hardly more than one blurred edge, which other pieces have too.
    assert len(found) >= (15 if change in ("shifted", "cropped", "turned by 5 degrees") else n)


@pytest.mark.parametrize("side", [28, 40, 48, 56, 100])
def test_several_copies_do_not_hide_each_other(side: int) -> None:
    """Thumbnails as a run makes them, from pictures of sides that are no multiple of theirs."""
    spec = ImageSpec(16, 1)
    own = [np.asarray(piece.resize((side, side))) for piece in pieces()]
    n = len(own)

    def read_thumbs(images: list[np.ndarray]) -> np.ndarray:
        return np.stack([read(np.ascontiguousarray(one), spec, "fit", None).thumb for one in images])

    others = read_thumbs([turn(one) for turn in (np.fliplr, np.flipud, np.rot90) for one in own])
    found = transformed_copies(read_thumbs(own), others, every=True)
    assert (found[:, 0] == found[:, 1] % n).all()
    assert len({tuple(pair) for pair in found.tolist()}) == len(found) >= 3 * n - 2
    assert len(set(transformed_copies(read_thumbs(own), others)[:, 0].tolist())) >= n - 1


def test_other_parts_of_the_same_photographs_are_not_copies() -> None:
    originals = thumbs(pieces())
    assert len(transformed_copies(originals[::2], originals[1::2])) == 0


def test_uniform_and_empty_sets_have_no_copies() -> None:
    flat = np.full((3, 32, 32), 7, np.uint8)
    originals = thumbs(pieces())
    for queries, others in ((flat, flat), (flat, originals), (originals, flat), (originals[:0], originals)):
        assert transformed_copies(queries, others).shape == (0, 2)


def test_a_copy_of_every_other_image_is_paired_with_the_right_one() -> None:
    """Rows of the result are those of the arguments, also where uniform images were left out."""
    originals = thumbs(pieces())
    others = np.concatenate([np.zeros((1, 32, 32), np.uint8), originals])
    found = transformed_copies(np.ascontiguousarray(originals[4:6, :, ::-1]), others)
    assert found.tolist() == [[0, 5], [1, 6]]
