"""Mirrored, turned, shifted, cropped and resized copies are found, and other pictures are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pictures import photographs
from PIL import Image, ImageFilter, ImageOps

from augpipe.core.image_spec import ImageSpec
from augpipe.data.alignment import Match, correlation, cropped, oriented, refine
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


def smooth(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A smooth function of the plane, for images whose transforms are known exactly."""
    return 90 * torch.sin(3 * x + 1) * torch.cos(2.5 * y) + 60 * torch.sin(2 * x * y + y) + 120


def image(maps: torch.Tensor) -> torch.Tensor:
    """float (1,32,32): `smooth` at M x + t."""
    centres = (torch.arange(32) + 0.5) / 16 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return smooth(*(maps[axis, 0] * x + maps[axis, 1] * y + maps[axis, 2] for axis in (0, 1)))[None]


def test_a_known_affine_map_is_recovered() -> None:
    """a(x) = b(M x + t) by construction; from the identity, the steps lead to M and t."""
    truth = torch.tensor([[0.95, 0.06, 0.05], [-0.04, 1.04, -0.06]])
    a, b = image(truth), image(torch.eye(2, 3))
    start = Match(*(torch.zeros(1, dtype=torch.int64) for _ in range(3)), torch.eye(2, 3)[None], torch.zeros(1))
    aligned = refine(a, 1.5 * b + 10, start, 8)
    assert torch.allclose(aligned.maps[0], truth, atol=0.01)
    assert aligned.value > 0.9995 > correlation(a, b, torch.eye(2, 3)[None])


def test_crops_and_orientations_are_exact() -> None:
    a = image(torch.eye(2, 3))
    zoom = torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.8, 0.0]])
    assert torch.allclose(cropped(a, 0.8), image(zoom), atol=0.9)  # h²/8 (|f_xx| + |f_yy|) of 255, h = 1/16
    turned = oriented(a.expand(8, 32, 32), torch.arange(8))
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 8
    for value in range(8):
        expected = a[0].T if value & 4 else a[0]
        expected = expected.flip(1) if value & 1 else expected
        expected = expected.flip(0) if value & 2 else expected
        assert torch.equal(turned[value], expected), value


def test_a_map_that_stretches_one_direction_is_no_copy() -> None:
    """Simple pictures fit each other if one may be pulled long; the limit is on the singular values of the map."""
    for scale, allowed in (((1.0, 1.0), True), ((0.9, 1.15), True), ((0.8, 1.3), False), ((1.6, 1.6), False)):
        angle = torch.tensor(0.1)
        turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
        maps = torch.cat([turn @ torch.diag(torch.tensor(scale)), torch.zeros(2, 1)], 1)
        value = correlation(image(maps), image(torch.eye(2, 3)), maps[None])
        assert bool(value > 0.99) is allowed, scale
