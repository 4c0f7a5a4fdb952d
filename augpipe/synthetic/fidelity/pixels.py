"""Diversity within a class in pixels: SSIM, MS-SSIM and LPIPS of random pairs of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.home import weights_folder
from augpipe.core.weights import UNREADABLE
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity.base import Compared, RefusedError, metric
from augpipe.synthetic.options import LPIPS_WEIGHTS, WINDOW, pixel_obstacle

PAIRS: Final = 200  # random pairs, both images of one class
AT_ONCE: Final = 2**20  # pixel values per call


def pairs(images: Embedded, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random rows (2,PAIRS), each pair different images of one class; RefusedError if no class has two images."""
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
    images: Embedded, rng: np.random.Generator, similarity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> float:
    """Mean of `similarity` over the pairs. similarity: two float32 (N,C,H,W) in [0,255] → (N,); called on chunks."""
    rows = pairs(images, rng)
    step = max(1, AT_ONCE // int(np.prod(images.images.shape[1:])))
    values = [
        similarity(*(torch.from_numpy(np.array(images.images[r])).float() for r in chunk))
        for chunk in np.array_split(rows, range(step, PAIRS, step), axis=1)
    ]
    return float(torch.cat([chunk.flatten() for chunk in values]).mean())


@metric("ssim", "ssim_real")
def ssim(c: Compared) -> dict[str, float]:
    """Mean SSIM (Wang et al. 2004) of random pairs within a class (Odena et al. 2017, 4.2), for synthetic and for real
    images.

    A value well above that of real images means few distinct images per class. Published values depend on the window
    and the size: see `similarity`. Images are compared at the size of the run.
    """
    check("ssim", c.real.images.shape[2])
    return {
        "ssim": _mean(c.synthetic, c.rng("pairs"), similarity),
        "ssim_real": _mean(c.real, c.rng("pairs"), similarity),
    }


def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM of float (N,C,H,W) pairs in [0,255], (N,): Wang et al. 2004, with their Gaussian window of 11 pixels.

    Mean over the windows inside the image, as in their code. torchmetrics' mean also has those that reach into a
    reflected border, where black borders are alike: .42 in place of .20 for two fours of MNIST. scikit-image's default,
    a uniform window of 7 pixels, gives .29.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    maps = structural_similarity_index_measure(a, b, data_range=255.0, reduction="none", return_full_image=True)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    mean: torch.Tensor = maps[1][:, :, inside, inside].mean((1, 2, 3))
    return mean


def check(figure: str, side: int) -> None:
    """RefusedError if a figure needs larger images than of `side` pixels, or weights that are missing."""
    reason = pixel_obstacle(figure, side)
    if reason:
        raise RefusedError(reason)


@metric("ms_ssim", "ms_ssim_real")
def ms_ssim(c: Compared) -> dict[str, float]:
    """Mean multi-scale SSIM (Wang et al. 2003) of the same pairs, as torchmetrics has it: borders are reflected."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    check("ms_ssim", c.real.images.shape[2])

    def alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return multiscale_structural_similarity_index_measure(a, b, data_range=255.0, reduction="none")

    return {"ms_ssim": _mean(c.synthetic, c.rng("pairs"), alike), "ms_ssim_real": _mean(c.real, c.rng("pairs"), alike)}


@metric("lpips", "lpips_real")
def lpips(c: Compared) -> dict[str, float]:
    """Mean LPIPS (Zhang et al. 2018, AlexNet) of the same pairs; its weights are never fetched: they must exist."""
    check("lpips", c.real.images.shape[2])
    net = _lpips_net()

    def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            distance: torch.Tensor = net(*(x.expand(-1, 3, -1, -1) / 127.5 - 1 for x in (a, b)))
        return distance

    return {
        "lpips": _mean(c.synthetic, c.rng("pairs"), distances),
        "lpips_real": _mean(c.real, c.rng("pairs"), distances),
    }


def _lpips_net() -> torch.nn.Module:
    from torchmetrics.functional.image.lpips import _LPIPS

    before = torch.hub.get_dir()
    torch.hub.set_dir(str(weights_folder().parent))
    try:
        # torchvision may unpickle code: `weights_only` first rejects files that contain any.
        torch.load(weights_folder() / LPIPS_WEIGHTS, map_location="cpu", weights_only=True)
        net: torch.nn.Module = _LPIPS(pretrained=True, net="alex").eval()
    except (*UNREADABLE, OSError):
        raise RefusedError(f"{LPIPS_WEIGHTS} cannot be read as AlexNet's weights") from None
    finally:
        torch.hub.set_dir(before)
    return net
