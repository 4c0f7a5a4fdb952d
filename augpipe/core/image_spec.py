"""The shape of a run's images; apart from `images`, which imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """Shape of one image: (channels, size, size)."""

    size: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.size, self.size)
