"""How different a generator's images of one class are, in pixels: SSIM, MS-SSIM and LPIPS of pairs."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.extractors import weights_folder
from augpipe.features import Embedded
from augpipe.fidelity.base import Compared, RefusedError, metric

PAIRS: Final = 200  # random pairs of one class
MULTISCALE: Final = 161  # pixels a side that five scales of an 11-pixel window need
WINDOW: Final = 11  # pixels a side that SSIM's window needs
LPIPS_WEIGHTS: Final = "alexnet-owt-7be5be79.pth"
LPIPS_AT_ONCE: Final = 50


def pairs(images: Embedded, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows (2,PAIRS) of different images of one class; RefusedError where no class has two."""
    counts = np.bincount(images.labels)
    able = np.flatnonzero(counts[images.labels] > 1)
    if len(able) == 0:
        raise RefusedError("needs two images of a class")
    one = rng.choice(able, PAIRS)
    order = np.argsort(images.labels, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    start = (np.cumsum(counts) - counts)[images.labels[one]]
    n = counts[images.labels[one]]
    shift = 1 + (rng.random(PAIRS) * (n - 1)).astype(np.int64)
    return np.stack([one, order[start + (place[one] - start + shift) % n]])


def _two(images: Embedded, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Both images of each pair, float32 (PAIRS,C,H,W) in [0,255]."""
    rows = pairs(images, rng)
    one, other = (torch.from_numpy(np.ascontiguousarray(images.images[r])).float() for r in rows)
    return one, other


@metric("ssim", "ssim_real")
def ssim(c: Compared) -> dict[str, float]:
    """Mean SSIM (Wang et al. 2004) of random pairs of a class (Odena et al. 2017, 4.2), and of real ones.

    Well above that of real images: the class is drawn as few images.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    _large_enough(c, WINDOW)
    found = {}
    for name, images in (("ssim", c.synthetic), ("ssim_real", c.real)):
        value = similarity(*_two(images, c.rng("pairs")), data_range=255.0)
        found[name] = float(value) if isinstance(value, torch.Tensor) else float("nan")
    return found


def _large_enough(c: Compared, least: int) -> None:
    side = c.real.images.shape[2]
    if side < least:
        raise RefusedError(f"needs images of {least} px; these have {side}")


@metric("ms_ssim", "ms_ssim_real")
def ms_ssim(c: Compared) -> dict[str, float]:
    """Mean multi-scale SSIM (Wang et al. 2003) of the same pairs."""
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as similarity,
    )

    _large_enough(c, MULTISCALE)
    return {
        name: float(similarity(*_two(images, c.rng("pairs")), data_range=255.0))
        for name, images in (("ms_ssim", c.synthetic), ("ms_ssim_real", c.real))
    }


@metric("lpips", "lpips_real")
def lpips(c: Compared) -> dict[str, float]:
    """Mean LPIPS (Zhang et al. 2018, AlexNet) of the same pairs; only where its weights lie, never fetched."""
    if not (weights_folder() / LPIPS_WEIGHTS).exists():
        raise RefusedError(f"needs {LPIPS_WEIGHTS} in {weights_folder()}")
    from torchmetrics.functional.image.lpips import _LPIPS

    before = torch.hub.get_dir()
    torch.hub.set_dir(str(weights_folder().parent))
    try:
        net = _LPIPS(pretrained=True, net="alex").eval()
    finally:
        torch.hub.set_dir(before)
    found = {}
    for name, images in (("lpips", c.synthetic), ("lpips_real", c.real)):
        one, other = (x.expand(-1, 3, -1, -1) / 127.5 - 1 for x in _two(images, c.rng("pairs")))
        with torch.no_grad():
            parts = [
                net(a, b).flatten()
                for a, b in zip(one.split(LPIPS_AT_ONCE), other.split(LPIPS_AT_ONCE), strict=True)
            ]
        found[name] = float(torch.cat(parts).mean())
    return found
