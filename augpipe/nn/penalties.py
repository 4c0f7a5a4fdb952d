"""Gradient penalties of a critic, a function from images (N,C,H,W) to scores (N,), and of a style-based generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from augpipe.core import distributed as parallel

Critic = Callable[[torch.Tensor], torch.Tensor]


def input_gradients(critic: Critic, x: torch.Tensor) -> torch.Tensor:
    """Gradient of each score with respect to its image, float32 (N, C·H·W); differentiable."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).float().sum(), x, create_graph=True)
    return gradient.float().flatten(1)


def gradient_penalty(critic: Critic, real: torch.Tensor, fake: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """E[(|grad D(x̂)| - 1)²] at x̂ on the line between a real and a fake image (Gulrajani et al. 2017, eq. 3).

    The norm is over all non-batch axes. real, fake: (N,C,H,W); rng: on their device.
    """
    n = parallel.global_count(len(real))
    u = parallel.local_rows(torch.rand(n, 1, 1, 1, generator=rng, device=rng.device)).to(real)
    between = torch.lerp(fake.detach(), real, u)
    # The square root has no gradient at 0: a locally constant critic would give NaN.
    norms = (input_gradients(critic, between).square().sum(1) + 1e-12).sqrt()
    return (norms - 1).square().mean()


def r1(critic: Critic, real: torch.Tensor) -> torch.Tensor:
    """½ E[|grad D(x)|²] at real images (Mescheder et al. 2018, eq. 9); to be multiplied by gamma.

    The families apply it every k steps with k times the weight, which is lazy regularisation (Karras et al. 2020,
    appendix B), but leave Adam's learning rate and betas as they are: the paper multiplies the rate by k / (k + 1) and
    raises the betas to that power. If batches are augmented, they give the augmented images, and the gradient is taken
    with respect to these; StyleGAN2-ADA takes it with respect to the images before augmentation.
    """
    return 0.5 * input_gradients(critic, real).square().sum(1).mean()


def path_lengths(images: torch.Tensor, styles: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """|J^T y| of each image (Karras et al. 2020, section 3.2), (N,), float32; differentiable.

    images (N,C,H,W) depend on styles (N,L,W), one for each of L layers, with Jacobian J; the square of the length is
    the mean over layers. noise: N(0,1) in the images' shape; y is it divided by sqrt(H·W).
    """
    y = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images.float() * y).sum(), styles, create_graph=True)
    # The square root has no gradient at 0.
    return (gradient.float().square().sum(2).mean(1) + 1e-12).sqrt()
