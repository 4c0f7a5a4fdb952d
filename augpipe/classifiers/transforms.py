"""Classical augmentation of real and synthetic training images: policies by name, or an albumentations pipeline.

`light`, `medical`, `faces` and `elastic` change whole batches (see `batch_steps`); `randaugment`, `trivialaugment` and
`augmix` are torchvision's. Instead of a name, any pipeline that albumentations can serialise is accepted, as a mapping
or a file (JSON or YAML), whose content becomes part of the experiment. A name may have symmetries:
`elastic+fliplr+rot90` mirrors and turns the images before they are deformed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from augpipe.classifiers import batch_steps
from augpipe.classifiers.batch_steps import Images, Simard, SmoothNoise, Step, Steps
from augpipe.classifiers.symmetries import Symmetries
from augpipe.core.registry import Registry

TRIED: Final = 16  # images: a transform may be applied to some only
# Scale in x and y, shift in x and y as a fraction of the side, degrees of rotation, of shear in x and y.
AFFINE: Final = Step(
    batch_steps.affine, 0.9, ((0.9, 1.1), (0.9, 1.1), (-0.08, 0.08), (-0.08, 0.08), (-12, 12), (-6, 6), (-6, 6))
)
policies: Registry[Callable[[int], Images]] = Registry("transform")


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
    return Steps([AFFINE, Step(SmoothNoise(alpha=6.0, sigma=3.0), 0.3)], seed)


@policies.register("elastic")
def elastic(seed: int) -> Images:
    """Small affine changes, and elastic ones in four of five images:
    about .8 of 28 pixels, several times those of `light`.
    """
    return Steps([AFFINE, Step(Simard(), 0.8)], seed)


@policies.register("medical")
def medical(seed: int) -> Images:
    """`light`, and differences between scanners: brightness, contrast, noise, sharpness; no flips."""
    scanner = [
        Step(batch_steps.brightness_contrast, 0.6, ((-0.15, 0.15), (-0.2, 0.2))),
        Step(batch_steps.gamma, 0.3, ((0.8, 1.25),)),
        # Which of the two, sigma of the blur in pixels, standard deviation of the noise.
        Step(batch_steps.blur_or_noise, 0.3, ((0, 1), (0.5, 3.0), (0.01, 0.04))),
    ]
    return Steps([AFFINE, Step(SmoothNoise(alpha=6.0, sigma=3.0), 0.2), *scanner], seed)


@policies.register("faces")
def faces(seed: int) -> Images:
    """Horizontal flips (probability .5), small affine changes, brightness and contrast, an erased patch."""
    colour = Step(batch_steps.brightness_contrast, 0.6, ((-0.2, 0.2), (-0.2, 0.2)))
    # Height and width of the patch as fractions of the side, its place from the top and from the left.
    patch = Step(batch_steps.erase, 0.3, ((0.1, 0.3), (0.1, 0.3), (0, 1), (0, 1)))
    return Steps([Step(batch_steps.mirror, 0.5), AFFINE, colour, patch], seed)


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
        from augpipe.classifiers.pipelines import Pipeline  # imports albumentations

        return Pipeline(spec, seed)
    name, *symmetries = spec.split("+")
    change = policies[name](seed)
    if not symmetries:
        return change
    mirrored = Symmetries(symmetries, seed)
    return lambda images: change(mirrored(images))


def check_images(serialised: Mapping[str, Any], channels: int, size: int) -> None:
    """UserError if a serialised pipeline fails on images of this kind, or changes their size, channels or type."""
    images = torch.full((TRIED, channels, size, size), 100, dtype=torch.uint8)
    transform(serialised, 0)(images)
