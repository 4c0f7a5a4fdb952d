"""Base class of the adversarial families: nets, weight average, optimisers, random streams and sampling.

A family adds its nets and optimisers and implements `step`. Nothing here depends on a family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, to_float, to_uint8
from augpipe.core.schema import Strict
from augpipe.core.seeds import capture, restore, torch_stream
from augpipe.generators.class_draws import drawn_together
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Problem
from augpipe.nn.augment import Adaptive, diff_augment
from augpipe.nn.blocks import Scheme, initialise, use_rng
from augpipe.nn.ema import EMA, recalibrate
from augpipe.nn.norms import norms_global, spectral_norm
from augpipe.nn.options import Operations
from augpipe.nn.penalties import Critic, r1

SAMPLE_BATCH = 256  # images per forward pass in sampling


class Ada(Strict):
    """Adaptive discriminator augmentation (Karras et al. 2020)."""

    target: float = Field(default=0.6, gt=-1, lt=1)
    """Target of E[sign D(real)]: above it, images are augmented more often."""

    kimg: float = Field(default=500.0, gt=0)
    """Thousands of real images over which the augmentation probability can rise from 0 to 1."""


class AdversarialConfig(GeneratorConfig):
    """Options of all adversarial families."""

    latent: int = Field(default=100, ge=1)
    """Size of the latent vector."""

    width: float = Field(default=1.0, gt=0, le=64)
    """Multiplier of the family's channel counts."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of Adam."""

    augment: Operations = ("translation", "cutout")
    """Differentiable augmentations of reals and fakes, in the updates of both nets (DiffAugment, Zhao et al. 2020):
    brightness, saturation, contrast, translation, cutout, rotation, scale, affine, flip."""

    ada: Ada | None = None
    """Apply each operation with the probability set by ADA's controller. null: always (DiffAugment)."""

    ema_half_kimg: float = Field(default=5.0, gt=0)
    """Half-life of the generator's weight average (EMA), in thousands of real images."""

    @property
    def signed(self) -> bool:
        """Whether a score above 0 means real; False for a Wasserstein critic, whose sign is arbitrary."""
        return True

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.augment:
            yield "ada", "with augment: []"

    @model_validator(mode="after")
    def _ada_needs_a_sign(self) -> AdversarialConfig:
        if self.ada and not self.signed:
            raise ValueError(
                f"ada needs a critic whose sign separates real from fake; this {self.kind} has a Wasserstein critic, "
                "set ada: null"
            )
        return self


class Adversarial:
    """Nets and optimisers by name, and the average of the generator's weights."""

    # A family adds two nets, `generator` and `discriminator`, and sets `ema`, the average of the generator.
    ema: EMA
    # Batches, and images of each, from which batch norms take their statistics before images are drawn.
    recalibration: ClassVar[tuple[int, int]] = (8, 128)
    # Why `truncation` has no effect on the family; "" if it has.
    not_truncated: ClassVar[str] = ""
    # How `latents` are distributed, if that does not depend on the label; "" if it does.
    latent_law: ClassVar[str] = "N(0,1)"
    truncation = 1.0  # see `generators.truncation`

    def __init__(self, config: AdversarialConfig, problem: Problem, runtime: Runtime, seed: int) -> None:
        self.problem, self.runtime, self._seed = problem, runtime, seed
        self._latent, self._augment = config.latent, config.augment
        self._together = config.together
        self.adaptive = Adaptive(config.ada.kimg, config.ada.target) if config.ada else None
        self.nets: dict[str, nn.Module] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        # One stream for draws on the CPU, one for draws on the device of the nets.
        self.rngs = {
            "noise": torch_stream(seed, "noise"),
            "device": torch_stream(seed, "device", device=runtime.device),
        }
        self.seen = self.steps = 0
        self.present = torch.arange(len(problem.classes))
        # Whether the averaged weights changed since their batch statistics were computed.
        self._stale = False

    def add(self, name: str, net: nn.Module, scheme: Scheme = "kaiming", *, spectral: bool = False) -> nn.Module:
        """Register a net: initialise its weights from the stream of its name and move it to the device."""
        initialise(net, torch_stream(self._seed, "weights", name), scheme)
        if spectral:
            spectral_norm(net, torch_stream(self._seed, "spectral", name))
        use_rng(net, self.rngs["device"])
        if parallel.size() > 1:
            norms_global(net)
        self.nets[name] = self.runtime.place(net)
        return self.nets[name]

    def adam(
        self, name: str, net: nn.Module, learning_rate: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """Create Adam for a net's parameters and register it as `name`."""
        self.optimisers[name] = torch.optim.Adam(
            net.parameters(), learning_rate, betas=betas, eps=1e-8, fused=self.runtime.device.type in ("cpu", "cuda")
        )
        return self.optimisers[name]

    def update(self, name: str, loss: torch.Tensor) -> None:
        """Take one step of the optimiser `name` on `loss`."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.average_gradients(name)
        optimiser.step()

    def average_gradients(self, name: str) -> None:
        """Average the gradients over processes; call it before the optimiser's step."""
        groups = self.optimisers[name].param_groups
        parallel.average_gradients(p for group in groups for p in group["params"])

    def finish_step(self, n: int) -> None:
        """Finish a step on n real images per process: update the weight average and the counts."""
        n = parallel.global_count(n)
        self.ema.update(self.nets["generator"], self.seen, n)
        self.seen += n
        self.steps += 1
        self._stale = True

    def prepare(self, train: ImageSet) -> None:
        """Record which classes have train images; training draws fakes of these only."""
        self.present = torch.tensor([c for c, n in train.counts().items() if n > 0])

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents N(0,1), (N, latent), on the CPU; a family may make them depend on the labels."""
        return torch.randn(len(labels), self._latent, generator=rng)

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """Means of the latents, (N, latent) or one for all; a family may make them depend on the labels."""
        return torch.zeros(1)

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

    def draw_labels(self, n: int, rng: torch.Generator | None = None) -> torch.Tensor:
        """Draw labels of n fakes per process, uniform over classes with train images; with an rng, n in all."""
        n = parallel.global_count(n) if rng is None else n
        return drawn_together(self.present, n, self._together, rng or self.rngs["noise"])

    def wrong(self, labels: torch.Tensor) -> torch.Tensor:
        """Draw for each label a different one, uniform over classes with train images; needs two classes."""
        k = len(self.present)
        index = torch.searchsorted(self.present, labels.cpu())
        shift = torch.randint(1, k, (len(labels),), generator=self.rngs["noise"])
        return self.present[(index + shift) % k].to(labels.device)

    def noise(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels (N,) of the global batch → this process's training latents and labels, on the device."""
        z = parallel.local_rows(self.latents(labels, self.rngs["noise"]))
        return z.to(self.runtime.device), parallel.local_rows(labels).to(self.runtime.device)

    def local_batch(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Global batch uint8 (N,C,H,W), labels (N,) → this process's rows on the device, images in [-1,1]."""
        labels = parallel.local_rows(labels).to(self.runtime.device)
        return to_float(self.runtime.move(parallel.local_rows(images))), labels

    def in_class_order(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sort the global batch by class, then return `local_batch` of it."""
        labels, order = labels.to(self.runtime.device).sort(stable=True)
        return self.local_batch(images.to(self.runtime.device)[order], labels)

    def augment(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the configured augmentations to float (N,C,H,W), independently per image."""
        p = self.adaptive.p if self.adaptive else 1.0
        x = x.float()
        return diff_augment(x, self._augment, self.rngs["device"], p) if p > 0 else x

    def with_r1(self, loss: torch.Tensor, critic: Critic, real: torch.Tensor, gamma: float, every: int) -> torch.Tensor:
        """The critic's loss plus gamma times R1, applied lazily:
        in every `every`-th step, with `every` times the weight.
        """
        if not gamma or self.steps % every:
            return loss
        with self.runtime.autocast():
            penalty = r1(critic, real)
        return loss + gamma * every * penalty

    def observe(self, real: torch.Tensor) -> None:
        """Report scores of reals (N,) to the ADA controller, if there is one."""
        if self.adaptive:
            self.adaptive.observe(parallel.gather(real.detach()))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Disable weight gradients of a net while the other net is updated through it."""
        self.nets[name].requires_grad_(False)
        yield
        self.nets[name].requires_grad_(True)

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Sample the averaged generator; its batch statistics are recomputed first if the weights changed."""
        if len(labels) == 0:
            return torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
        if self._stale:
            self._recalibrate()
        chunks = []
        for chunk in labels.split(SAMPLE_BATCH):
            z = self.truncated_latents(chunk, rng).to(self.runtime.device)
            with self.runtime.autocast():
                images = self.ema.module(z, chunk.to(self.runtime.device))
            chunks.append(to_uint8(images).cpu())
        return torch.cat(chunks).contiguous()

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

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply every optimiser's learning rate."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Load another generator's nets, its average as generator; optimisers and counts stay fresh."""
        for name, net in self.nets.items():
            net.load_state_dict(state["nets"][name])
        # The averaged weights are the better generator; the ramp of the EMA forgets its start at the first step.
        self.nets["generator"].load_state_dict(state["ema"])
        self.ema.module.load_state_dict(state["ema"])
        self._stale = True

    def extra_state(self) -> dict[str, Any]:
        """State that the family adds to `state_dict`."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned; called before nets and optimisers are loaded."""

    def state_dict(self) -> dict[str, Any]:
        """Nets, weight average, optimisers, random streams, ADA, counts and the family's `extra_state`."""
        return {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "ema": self.ema.module.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "rngs": capture(self.rngs),
            "ada": self.adaptive.state_dict() if self.adaptive else {},
            "present": self.present,
            "counts": {"seen": self.seen, "steps": self.steps, "stale": self._stale},
            "more": self.extra_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        counts = state["counts"]
        self.seen, self.steps, self._stale = counts["seen"], counts["steps"], counts["stale"]
        self.present = state["present"].clone()
        self.load_extra_state(state["more"])
        for name, net in self.nets.items():
            net.load_state_dict(state["nets"][name])
        self.ema.module.load_state_dict(state["ema"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        restore(self.rngs, state["rngs"])
        if self.adaptive:
            self.adaptive.load_state_dict(state["ada"])
