"""Classical augmentation of real and synthetic training images: policies by name, or an albumentations pipeline.

`light`, `medical` and `faces` are albumentations pipelines; `elastic` deforms whole batches; `randaugment`,
`trivialaugment` and `augmix` are torchvision's. Instead of a name, any pipeline that albumentations can serialise is
accepted, as a mapping or a file (JSON or YAML), whose content becomes part of the experiment. A name may have
symmetries: `elastic+fliplr+rot90` mirrors and turns the images before they are deformed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from augpipe.classifiers.symmetries import Symmetries
from augpipe.core.errors import UserError, one_line
from augpipe.core.processes import environment_variable
from augpipe.core.registry import Registry

# albumentations queries a server for its latest version at import, unless this variable is set.
with environment_variable("NO_ALBUMENTATIONS_UPDATE", "1"):
    import albumentations as A

TRIED: Final = 16  # images: a transform may be applied to some only
Images = Callable[[torch.Tensor], torch.Tensor]  # uint8 (N,C,H,W) → uint8 (N,C,H,W)
policies: Registry[Callable[[int], Images]] = Registry("transform")


class Albumentations:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), each image transformed separately; one random stream."""

    def __init__(self, pipeline: A.Compose, seed: int) -> None:
        self._apply = pipeline
        # By default each worker process uses one thread per core for one small image. These threads block each other:
        # on 16 cores, twelve processes stalled.
        cv2.setNumThreads(1)
        pipeline.set_random_seed(seed % 2**32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        rows: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        done = np.stack([self._changed(row) for row in rows])
        return torch.from_numpy(done).permute(0, 3, 1, 2).to(images.device)

    def _changed(self, row: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Transform one image; UserError if the result has another shape or type."""
        try:
            result: Any = self._apply(image=row)["image"]
        except Exception as error:  # any transform may raise anything
            message = one_line(error)[:200]
            raise UserError(
                f"the transform fails on an image of {row.shape}: {type(error).__name__}: {message}"
            ) from None
        changed = np.atleast_3d(result) if isinstance(result, np.ndarray) else None
        if changed is None or changed.dtype != np.uint8 or changed.shape != row.shape:
            got = f"{result.dtype} {tuple(result.shape)}" if hasattr(result, "dtype") else type(result).__name__
            raise UserError(
                f"the transform turns an image uint8 {row.shape} into {got}; it must keep size, channels and type "
                "(leave out Normalize, ToTensorV2, Resize and crops)"
            )
        return changed


class Torchvision:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), image by image: torchvision draws one set of parameters per call."""

    def __init__(self, change: Images, seed: int) -> None:
        self._change = change
        self._rng = torch.Generator().manual_seed(seed % 2**63)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        # torchvision draws only from the global generator: seed it for the batch, then restore it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(0, 2**62, (1,), generator=self._rng)))
            return torch.cat([self._change(image) for image in images.split(1)])


@policies.register("light")
def light(seed: int) -> Images:
    """Small affine and elastic changes; no flips, since a flipped digit or organ is a different one."""
    return Albumentations(A.Compose([_affine(), A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.3)]), seed)


class Elastic:
    """Elastic deformation of four of five images, uint8 (N,C,H,W) → uint8 (N,C,H,W).

    Simard et al. 2003, section 2.1: displacements uniform in [-1, 1], smoothed by a Gaussian of `SIGMA` pixels, times
    `ALPHA`, for images of `SIDE` pixels; about .8 px. The paper uses 34, about 1.4 px, which learns more slowly: with
    1200 steps, val was better at 20 on MNIST. The field is computed at `SIDE` pixels and resized to the image, so that
    the deformation does not depend on image size; its noise extends beyond the border, so that it is not stronger
    there. Pixels from outside the image are black.
    """

    SIDE, SIGMA, ALPHA, OFTEN = 28, 4.0, 20.0, 0.8

    def __init__(self, seed: int) -> None:
        self._rng = torch.Generator().manual_seed(seed % 2**63)
        offsets = torch.arange(-round(3 * self.SIGMA), round(3 * self.SIGMA) + 1)
        kernel = torch.exp(-((offsets / self.SIGMA) ** 2) / 2)
        self._kernel = kernel / kernel.sum()

    def displacements(self, n: int) -> torch.Tensor:
        """Displacements (N,2,SIDE,SIDE), x and y, in pixels of an image of SIDE pixels; 0 for images left unchanged."""
        wide = self.SIDE + len(self._kernel) - 1
        noise = torch.rand(n * 2, 1, wide, wide, generator=self._rng) * 2 - 1
        smooth = F.conv2d(F.conv2d(noise, self._kernel[None, None, None]), self._kernel[None, None, :, None])
        chosen = torch.rand(n, 1, 1, 1, generator=self._rng) < self.OFTEN
        return self.ALPHA * smooth.view(n, 2, self.SIDE, self.SIDE) * chosen

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        n, _, h, w = images.shape
        field = self.displacements(n).to(images.device) * (
            2 / self.SIDE
        )  # in grid_sample's coordinates a side has length 2
        field = F.interpolate(field, (h, w), mode="bicubic", align_corners=False)
        identity = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
        grid = F.affine_grid(identity, [n, 1, h, w], align_corners=False) + field.permute(0, 2, 3, 1)
        moved = F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
        return moved.round_().clamp_(0, 255).to(torch.uint8)


@policies.register("elastic")
def elastic(seed: int) -> Images:
    """Small affine changes, and elastic ones in four of five images:
    about .8 of 28 pixels, several times those of `light`.
    """
    affine, bend = Albumentations(A.Compose([_affine()]), seed), Elastic(seed)
    return lambda images: bend(affine(images))


@policies.register("medical")
def medical(seed: int) -> Images:
    """`light`, and differences between scanners: brightness, contrast, noise, sharpness; no flips."""
    scanner = [
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.2, p=0.6),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 3), p=1.0), A.GaussNoise(std_range=(0.01, 0.04), p=1.0)], p=0.3),
    ]
    return Albumentations(A.Compose([_affine(), A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.2), *scanner]), seed)


@policies.register("faces")
def faces(seed: int) -> Images:
    """Horizontal flips (probability .5), small affine changes, brightness and contrast, an erased patch."""
    return Albumentations(
        A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                _affine(),
                A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.6),
                A.CoarseDropout(
                    num_holes_range=(1, 1), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.3
                ),
            ]
        ),
        seed,
    )


def _affine() -> A.BasicTransform:
    return A.Affine(scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-6, 6), p=0.9)


@policies.register("randaugment")
def randaugment(seed: int) -> Images:
    """Two operations of magnitude 9 (Cubuk et al. 2020)."""
    # Imported on use: torchvision costs 160 MB and two seconds per process.
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


def transform(spec: str | Mapping[str, Any], seed: int) -> Images:
    """The policy of that name with its symmetries, or the serialised pipeline; deterministic for a seed."""
    if not isinstance(spec, str):
        return Albumentations(_pipeline(spec), seed)
    name, *symmetries = spec.split("+")
    change = policies[name](seed)
    if not symmetries:
        return change
    mirrored = Symmetries(symmetries, seed)
    return lambda images: change(mirrored(images))


def _pipeline(serialised: Mapping[str, Any]) -> A.Compose:
    """Load a serialised pipeline; UserError if it is not valid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments too that its own serialisation writes
            pipeline = A.from_dict(dict(serialised))
            for name in _dropped_keys(serialised, A.to_dict(pipeline)):
                raise ValueError(f"unknown argument {name!r}")
    except Exception as error:  # its classes may raise anything for invalid arguments
        message = one_line(error)[:200]
        raise UserError(f"the transform is not an albumentations pipeline: {type(error).__name__}: {message}") from None
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def _dropped_keys(given: Any, again: Any) -> Iterator[str]:
    """Keys of a serialised pipeline that are gone after it was loaded and serialised again:
    albumentations only warns.
    """
    if isinstance(given, Mapping) and isinstance(again, Mapping):
        for key, value in given.items():
            if key not in again:
                yield str(key)
            else:
                yield from _dropped_keys(value, again[key])
    elif isinstance(given, list) and isinstance(again, list):
        for value, other in zip(given, again, strict=False):
            yield from _dropped_keys(value, other)


def check_pipeline(serialised: Mapping[str, Any]) -> None:
    """UserError for an invalid pipeline."""
    _pipeline(serialised)


def check_images(serialised: Mapping[str, Any], channels: int, size: int) -> None:
    """UserError if a serialised pipeline fails on images of this kind, or changes their size, channels or type."""
    images = torch.full((TRIED, channels, size, size), 100, dtype=torch.uint8)
    transform(serialised, 0)(images)
