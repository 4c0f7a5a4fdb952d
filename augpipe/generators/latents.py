"""Base class of the families whose images are one net's of a latent and a label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_uint8
from augpipe.core.seeds import torch_stream
from augpipe.generators.networks import NetworkConfig, NetworkGenerator
from augpipe.generators.protocol import Problem
from augpipe.nn.class_tables import blended_classes, class_tables
from augpipe.nn.ema import recalibrate

SAMPLE_BATCH = 256  # images per forward pass in sampling


class LatentConfig(NetworkConfig):
    """Options of all families with latents."""

    latent: int = Field(default=100, ge=1)
    """Size of the latent vector."""


class LatentGenerator(NetworkGenerator):
    """Latents, and images that the averaged generator draws of them."""

    # Batches, and images of each, from which batch norms take their statistics before images are drawn.
    recalibration: ClassVar[tuple[int, int]] = (8, 128)
    # Why `truncation` has no effect on the family; "" if it has.
    not_truncated: ClassVar[str] = ""
    # How `latents` are distributed, if that does not depend on the label; "" if it does.
    latent_law: ClassVar[str] = "N(0,1)"
    # Why `decode` cannot draw images of latents and labels alone; "" if it can.
    not_decoded: ClassVar[str] = ""
    truncation = 1.0  # see `generators.truncation`

    def __init__(self, config: LatentConfig, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self._latent = config.latent

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents N(0,1), (N, latent), on the CPU; a family may make them depend on the labels."""
        return torch.randn(len(labels), self._latent, generator=rng)

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """Means of the latents, (N, latent) or one for all; a family may make them depend on the labels."""
        return torch.zeros(1)

    def points(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """What `sample` decodes images of the labels from, (N, latent): latents, if a family draws nothing else."""
        return self.latents(labels, rng)

    def walk(self, first: torch.Tensor, second: torch.Tensor, label: int, amount: float) -> torch.Tensor:
        """Points (N, latent) between two points of a class, `first` at amount 0 and `second` at 1.

        With independent Gaussian draws z and z' of mean m, m + cos(t) (z - m) + sin(t) (z' - m) is distributed as they
        are. In the middle of a straight line the variance is half of theirs, and images are more typical than draws.
        """
        angle, mean = torch.tensor(amount * torch.pi / 2), self.latent_means(torch.tensor([label]))
        return mean + angle.cos() * (first - mean) + angle.sin() * (second - mean)

    @property
    def not_shifted(self) -> str:
        """Why `shifted` has no effect; "" if it has."""
        return "its latents are drawn alike for all classes, so their means do not differ" if self.latent_law else ""

    def shifted(self, latents: torch.Tensor, first: int, second: int, amount: float) -> torch.Tensor:
        """Images of latents (N, latent) of the class `first`, moved by amount x (mean of `second` - mean of `first`).

        Latent arithmetic (Radford et al. 2016, section 6.3.2) with the classes' means; the label is still `first`.
        """
        means = self.latent_means(torch.tensor([first, second]))
        labels = torch.full((len(latents),), first)
        return self.decode(latents + amount * (means[1] - means[0]), labels)

    @property
    def not_blended(self) -> str:
        """Why `blended` and points of two classes show nothing between these; "" if they do."""
        if len(self.problem.classes) < 2:
            return "its model has one class"
        by_class = any(True for _ in class_tables(self.ema.module)) or not self.not_shifted
        return "" if by_class else "its network does not see the class"

    @contextmanager
    def blended(self, first: int, second: int, amount: float) -> Iterator[None]:
        """While the block lasts, the averaged net's parameters of the class `first` are moved towards `second`."""
        with blended_classes(self.ema.module, first, second, amount):
            yield

    def truncated_latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents and move them towards their means."""
        z = self.latents(labels, rng)
        if self.truncation == 1:
            return z
        means = self.latent_means(labels)
        return means + self.truncation * (z - means)

    def set_truncation(self, psi: float) -> None:
        """Truncate the latents of later samples.
        The batch statistics stay those of all latents: others would undo it.
        """
        self.truncation = psi

    def noise(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels (N,) of the global batch → this process's training latents and labels, on the device."""
        z = parallel.local_rows(self.latents(labels, self.rngs["noise"]))
        return z.to(self.runtime.device), parallel.local_rows(labels).to(self.runtime.device)

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Sample the averaged generator; its batch statistics are recomputed first if the weights changed."""
        if len(labels) == 0:
            return torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
        if self._stale:
            self._recalibrate()
        chunks = [self.decode(self.truncated_latents(chunk, rng), chunk) for chunk in labels.split(SAMPLE_BATCH)]
        return torch.cat(chunks).contiguous()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents (N, latent), labels (N,) → images uint8 (N,C,H,W) of the averaged generator, on the CPU."""
        chunks = []
        for z, label in zip(latents.split(SAMPLE_BATCH), labels.split(SAMPLE_BATCH), strict=True):
            with self.runtime.autocast():
                images = self.ema.module(z.to(self.runtime.device), label.to(self.runtime.device))
            chunks.append(to_uint8(images).cpu())
        return torch.cat(chunks)

    @property
    def latent(self) -> int:
        """Length of a latent."""
        return self._latent

    def averaged(self) -> nn.Module:
        """The net that images are sampled with: latents (N, latent), labels (N,) → (N,C,H,W) in [-1,1]."""
        if self._stale:
            self._recalibrate()
        return self.ema.module

    def _recalibrate(self) -> None:
        batches, size = self.recalibration
        # A separate stream: sampling must not change the training that follows.
        rng = torch_stream(0, "recalibration")
        inputs = (self.inputs(self.draw_labels(size, rng), rng) for _ in range(batches))
        with self.runtime.autocast():
            recalibrate(self.ema.module, inputs)
        self._stale = False

    def inputs(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Draw the generator's inputs for labels (N,), as for `sample` but not truncated; on the device."""
        z = self.latents(labels, rng)
        return z.to(self.runtime.device), labels.to(self.runtime.device)
