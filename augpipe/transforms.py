"""Classical augmentation of real and synthetic training images: albumentations policies by name."""

from __future__ import annotations

import os
from collections.abc import Callable

# albumentations asks a server for its newest version at import unless told not to.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.kinds import Registry

policies: Registry[Callable[[], list[A.BasicTransform]]] = Registry("transform")


@policies.register("light")
def light() -> list[A.BasicTransform]:
    """Small affine and elastic changes; no flips, since a flipped digit or organ is another one."""
    return [
        A.Affine(
            scale=(0.9, 1.1),
            translate_percent=(-0.08, 0.08),
            rotate=(-12, 12),
            shear=(-6, 6),
            p=0.9,
        ),
        A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.3),
    ]


class Transform:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), each image changed on its own; one random stream a transform."""

    def __init__(self, policy: str, seed: int) -> None:
        self._apply = A.Compose(policies[policy](), seed=seed % 2**32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A changed copy of each image."""
        rows: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        done = np.stack([np.atleast_3d(self._apply(image=row)["image"]) for row in rows])
        return torch.from_numpy(done).permute(0, 3, 1, 2).to(images.device)
