"""Classical augmentation of real and synthetic training images: policies by name, or an albumentations pipeline.

`light`, `medical` and `faces` are albumentations pipelines, `elastic` bends whole batches, `randaugment`, `trivialaugment` and `augmix` torchvision's.
Any pipeline that albumentations serialises may be given instead, as a mapping or as a file of one (JSON or YAML), which
the experiment then holds whole.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from augpipe.core.errors import UserError
from augpipe.core.registry import Registry


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable while the block runs."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


# albumentations asks a server for its newest version at import, unless this variable is set.
with _environment("NO_ALBUMENTATIONS_UPDATE", "1"):
    import albumentations as A

Images = Callable[[torch.Tensor], torch.Tensor]  # uint8 (N,C,H,W) → uint8 (N,C,H,W)
policies: Registry[Callable[[int], Images]] = Registry("transform")


class Albumentations:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), each image changed on its own; one random stream."""

    def __init__(self, pipeline: A.Compose, seed: int) -> None:
        self._apply = pipeline
        # As many threads as the machine has cores would work on one small image, in each worker process: they wait
        # for one another, and on 16 cores twelve processes stood still.
        cv2.setNumThreads(1)
        pipeline.set_random_seed(seed % 2**32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A changed copy of each image."""
        rows: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        done = np.stack([self._changed(row) for row in rows])
        return torch.from_numpy(done).permute(0, 3, 1, 2).to(images.device)

    def _changed(self, row: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """UserError for a pipeline that does not give back an image of the same shape and type."""
        try:
            found: Any = self._apply(image=row)["image"]
        except Exception as error:  # whatever its parts raise for an image they cannot take
            told = " ".join(str(error).split())[:200]
            raise UserError(
                f"the transform fails on an image of {row.shape}: {type(error).__name__}: {told}"
            ) from None
        kept = np.atleast_3d(found) if isinstance(found, np.ndarray) else None
        if kept is None or kept.dtype != np.uint8 or kept.shape != row.shape:
            what = (
                f"{found.dtype} {tuple(found.shape)}"
                if hasattr(found, "dtype")
                else type(found).__name__
            )
            raise UserError(
                f"the transform makes {what} of an image uint8 {row.shape}; it must keep size, channels and type "
                "(leave out Normalize, ToTensorV2, Resize and crops)"
            )
        return kept


class Torchvision:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), each image by its own draw: over a batch all would be changed alike."""

    def __init__(self, change: Images, seed: int) -> None:
        self._change = change
        self._rng = torch.Generator().manual_seed(seed % 2**63)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A changed copy of each image."""
        # torchvision draws from the global generator alone: it is set for the batch and put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(0, 2**62, (1,), generator=self._rng)))
            return torch.cat([self._change(image) for image in images.split(1)])


@policies.register("light")
def light(seed: int) -> Images:
    """Small affine and elastic changes; no flips, since a flipped digit or organ is another one."""
    return Albumentations(
        A.Compose([_affine(), A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.3)]), seed
    )


class Elastic:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W): in four of five images each pixel is fetched from a little way off.

    Simard et al. 2003, section 2.1: displacements uniform in [-1, 1], smoothed by a Gaussian of `SIGMA` pixels, times
    `ALPHA`, of a digit of `SIDE` pixels; some .8 px. Theirs is 34, 1.4 px, which learns more slowly: with 1200 steps val was
    better at 20 on MNIST. The field is made at that side and stretched to the image's, so
    that a picture is bent alike whatever its size, and out of noise that reaches beyond the rim, so that it is no
    stronger there. What lies outside is black.
    """

    SIDE, SIGMA, ALPHA, OFTEN = 28, 4.0, 20.0, 0.8

    def __init__(self, seed: int) -> None:
        self._rng = torch.Generator().manual_seed(seed % 2**63)
        reach = torch.arange(-round(3 * self.SIGMA), round(3 * self.SIGMA) + 1)
        bell = torch.exp(-((reach / self.SIGMA) ** 2) / 2)
        self._bell = bell / bell.sum()

    def displacements(self, n: int) -> torch.Tensor:
        """(N,2,SIDE,SIDE), x and y, in pixels of SIDE."""
        wide = self.SIDE + len(self._bell) - 1
        noise = torch.rand(n * 2, 1, wide, wide, generator=self._rng) * 2 - 1
        smooth = F.conv2d(
            F.conv2d(noise, self._bell[None, None, None]), self._bell[None, None, :, None]
        )
        bent = torch.rand(n, 1, 1, 1, generator=self._rng) < self.OFTEN
        return self.ALPHA * smooth.view(n, 2, self.SIDE, self.SIDE) * bent

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A changed copy of each image."""
        n, _, h, w = images.shape
        field = self.displacements(n).to(images.device) * (2 / self.SIDE)  # a side is 2 long
        field = F.interpolate(field, (h, w), mode="bicubic", align_corners=False)
        still = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
        at = F.affine_grid(still, [n, 1, h, w], align_corners=False) + field.permute(0, 2, 3, 1)
        moved = F.grid_sample(images.float(), at, mode="bilinear", align_corners=False)
        return moved.round_().clamp_(0, 255).to(torch.uint8)


@policies.register("elastic")
def elastic(seed: int) -> Images:
    """Small affine changes, and in four of five images elastic ones of some .8 pixels of 28, several times those of `light`."""
    straight, bend = Albumentations(A.Compose([_affine()]), seed), Elastic(seed)
    return lambda images: bend(straight(images))


@policies.register("medical")
def medical(seed: int) -> Images:
    """`light`, and what scanners differ in: brightness, contrast, noise, sharpness; no flips."""
    scanner = [
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.2, p=0.6),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 3), p=1.0), A.GaussNoise(std_range=(0.01, 0.04), p=1.0)], p=0.3),
    ]  # fmt: skip
    return Albumentations(
        A.Compose([_affine(), A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.2), *scanner]), seed
    )


@policies.register("faces")
def faces(seed: int) -> Images:
    """Mirrored in half of all cases, small affine changes, light and contrast, a covered patch."""
    return Albumentations(
        A.Compose([
            A.HorizontalFlip(p=0.5),
            _affine(),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.6),
            A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.3),
        ]),
        seed,
    )  # fmt: skip


def _affine() -> A.BasicTransform:
    return A.Affine(
        scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-6, 6), p=0.9
    )


@policies.register("randaugment")
def randaugment(seed: int) -> Images:
    """Two operations of magnitude 9 (Cubuk et al. 2020)."""
    # torchvision takes 160 MB and two seconds of every process that imports it.
    from torchvision.transforms import v2

    return Torchvision(v2.RandAugment(), seed)


@policies.register("trivialaugment")
def trivialaugment(seed: int) -> Images:
    """One operation of any magnitude (Müller & Hutter 2021, the wide space)."""
    from torchvision.transforms import v2

    return Torchvision(v2.TrivialAugmentWide(), seed)


@policies.register("augmix")
def augmix(seed: int) -> Images:
    """Three chains of operations, mixed (Hendrycks et al. 2020), without the consistency loss."""
    from torchvision.transforms import v2

    return Torchvision(v2.AugMix(), seed)


def transform(given: str | Mapping[str, Any], seed: int) -> Images:
    """The policy of that name, or the serialised pipeline; the same seed changes the same images alike."""
    return (
        policies[given](seed) if isinstance(given, str) else Albumentations(_pipeline(given), seed)
    )


def _pipeline(serialised: Mapping[str, Any]) -> A.Compose:
    """UserError for what is no pipeline."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a misspelt argument is but a warning there
            found = A.from_dict(dict(serialised))
    except Exception as error:  # whatever its classes raise for what they are given
        told = " ".join(str(error).split())[:200]
        raise UserError(
            f"the transform is no albumentations pipeline: {type(error).__name__}: {told}"
        ) from None
    return found if isinstance(found, A.Compose) else A.Compose([found])


def check_pipeline(serialised: Mapping[str, Any]) -> None:
    """UserError for what is no pipeline, or for one that takes neither grey images nor those in colour."""
    _tried(_pipeline(serialised))


def _tried(pipeline: A.Compose) -> None:
    """UserError for one that serves neither grey images nor those in colour."""
    told: list[UserError] = []
    for channels in (3, 1):
        try:
            Albumentations(pipeline, 0)(torch.full((1, channels, 32, 32), 100, dtype=torch.uint8))
        except UserError as error:
            told.append(error)
    if len(told) == 2:
        raise told[0]
