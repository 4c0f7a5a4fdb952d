"""The shape of a run's images."""

from __future__ import annotations

from augpipe.core.image_spec import ImageSpec


def test_the_shape_of_one_image_is_channels_first(make_shapes) -> None:
    spec = ImageSpec(size=16, channels=1)
    assert spec.shape == (1, 16, 16) == make_shapes((2,)).images.shape[1:]
    assert ImageSpec(28, 3).shape == (3, 28, 28)
