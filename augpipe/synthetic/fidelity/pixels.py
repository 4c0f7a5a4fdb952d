"""How different a generator's images of one class are, in pixels: SSIM, MS-SSIM and LPIPS of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.weights import UNREADABLE, weights_folder
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity.base import Compared, RefusedError, metric

PAIRS: Final = 200  # random pairs of one class
MULTISCALE: Final = 161  # pixels a side that five scales of an 11-pixel window need
WINDOW: Final = 11  # pixels a side that SSIM's window needs
LPIPS_WEIGHTS: Final = "alexnet-owt-7be5be79.pth"
ALEXNET: Final = 31  # pixels a side that AlexNet's layers need
AT_ONCE: Final = 2**20  # values of an image set in one call


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


def _mean(
    images: Embedded,
    rng: np.random.Generator,
    alike: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> float:
    """Mean of `alike` over the pairs: float32 (N,C,H,W) twice, in [0,255] → (N,); a few pairs at once."""
    rows = pairs(images, rng)
    step = max(1, AT_ONCE // int(np.prod(images.images.shape[1:])))
    found = [
        alike(*(torch.from_numpy(np.array(images.images[r])).float() for r in part))
        for part in np.array_split(rows, range(step, PAIRS, step), axis=1)
    ]
    return float(torch.cat([part.flatten() for part in found]).mean())


@metric("ssim", "ssim_real")
def ssim(c: Compared) -> dict[str, float]:
    """Mean SSIM (Wang et al. 2004) of random pairs of a class (Odena et al. 2017, 4.2), and of real ones.

    Well above that of real images: the class is drawn as few images.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    _large_enough(c, WINDOW)

    def alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        value = similarity(a, b, data_range=255.0, reduction="none")
        return value if isinstance(value, torch.Tensor) else value[0]

    return {
        "ssim": _mean(c.synthetic, c.rng("pairs"), alike),
        "ssim_real": _mean(c.real, c.rng("pairs"), alike),
    }


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

    def alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return similarity(a, b, data_range=255.0, reduction="none")

    return {
        "ms_ssim": _mean(c.synthetic, c.rng("pairs"), alike),
        "ms_ssim_real": _mean(c.real, c.rng("pairs"), alike),
    }


@metric("lpips", "lpips_real")
def lpips(c: Compared) -> dict[str, float]:
    """Mean LPIPS (Zhang et al. 2018, AlexNet) of the same pairs; only where its weights lie, never fetched."""
    _large_enough(c, ALEXNET)
    if not (weights_folder() / LPIPS_WEIGHTS).exists():
        raise RefusedError(f"needs {LPIPS_WEIGHTS} below AUGPIPE_HOME, in weights/checkpoints")
    net = _lpips_net()

    def apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = net(*(x.expand(-1, 3, -1, -1) / 127.5 - 1 for x in (a, b)))
        return found

    return {
        "lpips": _mean(c.synthetic, c.rng("pairs"), apart),
        "lpips_real": _mean(c.real, c.rng("pairs"), apart),
    }


def _lpips_net() -> torch.nn.Module:
    from torchmetrics.functional.image.lpips import _LPIPS

    before = torch.hub.get_dir()
    torch.hub.set_dir(str(weights_folder().parent))
    try:
        # torchvision reads the file in a way that may run code: what this has read cannot.
        torch.load(weights_folder() / LPIPS_WEIGHTS, map_location="cpu", weights_only=True)
        net: torch.nn.Module = _LPIPS(pretrained=True, net="alex").eval()
    except (*UNREADABLE, OSError):
        raise RefusedError(f"{LPIPS_WEIGHTS} cannot be read as AlexNet's weights") from None
    finally:
        torch.hub.set_dir(before)
    return net
