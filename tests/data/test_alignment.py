from __future__ import annotations

import torch

from augpipe.data.alignment import Match, correlation, cropped, oriented, refine


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
