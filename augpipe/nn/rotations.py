"""Rotation as an auxiliary task: by how many quarter turns was an image rotated? (SS-GAN, Chen et al. 2019)"""

from __future__ import annotations

import torch

TURNS = 4


def quarter_turns(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """(N,C,S,S), quarter turns (N,) of 0 to 3 → each image, rotated counter-clockwise by its number of turns."""
    rotated = torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)])
    return rotated[turns, torch.arange(len(images), device=images.device)]
