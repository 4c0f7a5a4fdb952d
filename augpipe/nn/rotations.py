"""Rotation as an auxiliary task: by how many quarter turns was an image rotated? (Chen et al. 2019, SS-GAN)"""

from __future__ import annotations

import torch

TURNS = 4


def quarter_turns(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,C,S,S) → every fourth image, rotated by 0, 90, 180 and 270 degrees, and the number of quarter turns.

    About N images, as many as in the batch (Chen et al. 2019, section 4).
    """
    some = images[::TURNS]
    turned = torch.cat([torch.rot90(some, turns, (2, 3)) for turns in range(TURNS)])
    return turned, torch.arange(TURNS, device=images.device).repeat_interleave(len(some))
