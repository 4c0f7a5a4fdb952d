"""Learned deformations: move a train image as images of one class differ from each other.

A net learns from pairs of images of one class which smooth displacement field moves one onto the other (Hauberg et al.
2016; Zhao et al. 2019; Schwartz et al. 2018): an encoder q(z|x,y) of the pair, and a decoder (x, z) → y that moves x.
It learns from the richer classes, its sources. An image is a train image of its class, its parent, moved with the
latent of a random pair of the sources: how rich classes vary is applied to rare ones. No pixel is painted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Literal, cast

import torch
from pydantic import Field

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.errors import several
from augpipe.core.images import ImageSet, to_float, to_uint8
from augpipe.core.seeds import torch_stream
from augpipe.generators.class_draws import drawn_together
from augpipe.generators.from_train import FromTrain
from augpipe.generators.latents import SAMPLE_BATCH, LatentConfig
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn.deformation import PairDeformer, multi_scale_error, roughness
from augpipe.nn.ema import EMA
from augpipe.nn.variational import kl_divergence

FEW_CLASSES: Final = 20  # with fewer source classes images of the others may be smeared


class Config(LatentConfig):
    """Options of learned deformations."""

    derives: ClassVar[bool] = True
    class_free: ClassVar[bool] = True
    not_exported: ClassVar[str] = "its images are more than its network draws"

    kind: Literal["deform"]
    """Learned deformations: moves a train image as images of the richer classes differ; paints nothing."""

    width: float = Field(default=16.0, gt=0, le=256)
    """Channels at full resolution; doubled with each halving of it, at most four times as many."""

    latent: int = Field(default=16, ge=1)
    """Size of the latent vector of a pair."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""

    source_images: int | None = Field(default=None, ge=2)
    """Learn from classes with at least this many train images. null: with at least the median number of a class."""

    reach: float = Field(default=0.3, gt=0, le=1)
    """Largest entry of the displacement field and of the affine map, in halves of the image's side."""

    kl: float = Field(default=1e-3, ge=0)
    """Weight of the divergence of a pair's latents from N(0,1), summed over its dimensions."""

    smoothness: float = Field(default=1.0, ge=0)
    """Weight of the mean squared difference of neighbouring displacements."""

    pairs: int = Field(default=1024, ge=1)
    """Encoded pairs of the source classes that latents are drawn from."""

    def warnings(self, counts: Mapping[int, int]) -> Iterator[str]:
        """See `GeneratorConfig`."""
        n, present = len(_sources(self, counts)), sum(count > 0 for count in counts.values())
        if n < FEW_CLASSES:
            yield (
                f"deform learns from {n} of {several(present, 'class')}; with fewer than about {FEW_CLASSES} it may "
                "smear images of the others: look at its images, and compare it with elastic transforms"
            )


class Deform(FromTrain):
    """See the module docstring."""

    latent_law = ""  # of encoded pairs

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        net = PairDeformer(problem.spec, width=config.width, latent=config.latent, reach=config.reach)
        self.net = cast(PairDeformer, self.add("generator", net))
        self.ema = EMA(self.net, config.ema_half_kimg)
        self.adam("g", self.net, config.learning_rate, (0.9, 0.99))
        # mean and log variance of the latents of encoded pairs of the source classes
        self.bank = torch.zeros(2, config.pairs, config.latent)
        self.sources = self.present
        self._stale = True

    def prepare(self, train: ImageSet) -> None:
        """Store train, and which of its classes are sources."""
        super().prepare(train)
        self.sources = torch.tensor(_sources(self.config, train.counts()))

    def _pairs(self, n: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw n pairs of rows: a source class, uniformly, then two different images of it; (n,), (n,).

        Of a class with a single image the pair is that image twice.
        """
        by_class = self.train_images()[1]
        labels = drawn_together(self.sources, n, 1, rng)
        sizes = by_class.sizes[labels].double()
        u, v = torch.rand(2, n, generator=rng, dtype=torch.float64)
        first = (u * sizes).floor()
        # 1 to size - 1 places further, modulo the size; half a place more, so that rounding cannot fall below.
        second = (first + 1 + (v * (sizes - 1)).floor()) % sizes
        return by_class.pick(labels, (first + 0.5) / sizes), by_class.pick(labels, (second + 0.5) / sizes)

    def _images(self, rows: torch.Tensor) -> torch.Tensor:
        return to_float(self.runtime.move(self.train_images()[0].gather(rows)))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """One update on as many pairs of the source classes as the batch has images; the batch's own are not used."""
        pairs = self._pairs(parallel.global_count(len(parallel.local_rows(labels))), self.rngs["noise"])
        x, y = (self._images(parallel.local_rows(rows)) for rows in pairs)
        with self.runtime.autocast():
            posterior = self.net.encode(x, y)
            z = posterior.mean + (0.5 * posterior.log_variance).exp() * self.normal(posterior.mean)
            moved = self.net.move(x, z)
        error, divergence = multi_scale_error(moved.images, y), kl_divergence(posterior).sum(1).mean()
        rough = roughness(moved.field)
        self.update("g", error + self.config.kl * divergence + self.config.smoothness * rough)
        self.finish_step(len(x))
        return {"loss": error.detach(), "kl": divergence.detach(), "roughness": rough.detach()}

    @torch.no_grad()
    def _recalibrate(self) -> None:
        """Encode the pairs that latents are drawn from again, with the averaged weights."""
        # A separate stream: sampling must not change the training that follows.
        first, second = self._pairs(self.config.pairs, torch_stream(0, "bank"))
        net, moments = cast(PairDeformer, self.ema.module), []
        for rows, others in zip(first.split(SAMPLE_BATCH), second.split(SAMPLE_BATCH), strict=True):
            with self.runtime.autocast():
                moments.append(torch.stack(net.encode(self._images(rows), self._images(others))))
        self.bank = torch.cat(moments, 1).cpu()
        self._stale = False

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents of random pairs of the source classes, whatever the labels, (N, latent), on the CPU."""
        if self._stale:
            self._recalibrate()
        mean, log_variance = self.bank[:, torch.randint(0, self.bank.shape[1], (len(labels),), generator=rng)]
        noise = torch.randn(mean.shape, generator=rng)
        return torch.addcmul(mean, (0.5 * log_variance).exp(), noise)

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """The mean over all pairs, (latent)."""
        return self.bank[0].mean(0)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Move a random train image of each label, its parent."""
        chunks = [torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)]
        parents = [torch.empty(0, dtype=torch.int64)]
        for chunk in labels.split(SAMPLE_BATCH) if len(labels) else ():
            rows, x = self.draw_train(chunk, rng)
            z = self.truncated_latents(chunk, rng).to(self.runtime.device)
            with self.runtime.autocast():
                chunks.append(to_uint8(self.ema.module(x, z)).cpu())
            parents.append(rows)
        return Derived(torch.cat(chunks).contiguous(), torch.cat(parents))

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `NetworkGenerator`; latents are drawn from the other's pairs until a step is trained here."""
        super().warm_start(state)
        self.load_extra_state(state["more"])
        self._stale = bool(state["counts"]["stale"])

    def extra_state(self) -> dict[str, Any]:
        """The encoded pairs."""
        return {"bank": self.bank.clone()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        self.bank = state["bank"].clone()


def _sources(config: Config, counts: Mapping[int, int]) -> list[int]:
    """The classes that are learned from, ascending; all that have images if none has enough."""
    present = {label: n for label, n in counts.items() if n > 0}
    enough = config.source_images
    if enough is None:
        enough = sorted(present.values())[len(present) // 2] if present else 0
    return [label for label, n in sorted(present.items()) if n >= enough] or sorted(present)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> Deform:
    """Build an untrained net."""
    return Deform(config, problem, runtime, seed)
