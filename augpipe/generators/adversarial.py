"""What the adversarial families keep alike: nets, average, optimisers, random streams, and how they sample.

A family builds its nets and optimisers through it and writes its own `step`; nothing here knows a family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, to_float, to_uint8
from augpipe.core.schema import Strict
from augpipe.core.seeds import capture, restore, torch_stream
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Problem, drawn_together
from augpipe.nn.augment import Adaptive, Operations, diff_augment
from augpipe.nn.blocks import Scheme, initialise, use_rng
from augpipe.nn.ema import EMA, recalibrate
from augpipe.nn.norms import norms_global, spectral_norm

SAMPLED_AT_ONCE = 256
RECALIBRATION = (8, 128)  # batches and their size


class Ada(Strict):
    """Adaptive discriminator augmentation (Karras et al. 2020)."""

    target: float = Field(default=0.6, gt=-1, lt=1)
    """Value of E[sign D(real)] that the controller holds: above it, images are augmented more often."""

    kimg: float = Field(default=500.0, gt=0)
    """Thousands of real images in which the probability of augmenting can rise from 0 to 1."""


class AdversarialConfig(GeneratorConfig):
    """Options that every adversarial family has."""

    latent: int = Field(default=100, ge=1)
    """Size of the latent vector."""

    width: float = Field(default=1.0, gt=0, le=64)
    """Multiple of the family's channels."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of Adam."""

    augment: Operations = ("translation", "cutout")
    """Differentiable operations on reals and fakes, in the steps of both nets (DiffAugment, Zhao et al. 2020):
    brightness, saturation, contrast, translation, cutout, rotation, scale, affine, flip."""

    ada: Ada | None = None
    """Apply each operation with a probability that ADA's controller sets. null: always (DiffAugment)."""

    ema_half_kimg: float = Field(default=5.0, gt=0)
    """Half-life of the moving average of the generator's weights, in thousands of real images."""

    @property
    def signed(self) -> bool:
        """Whether a score above 0 means real: a Wasserstein critic's sign means nothing."""
        return True

    @model_validator(mode="after")
    def _ada_needs_a_sign(self) -> AdversarialConfig:
        if self.ada and not self.signed:
            raise ValueError(
                f"ada follows the sign of the critic's score, which means nothing in this {self.kind}; set ada: null"
            )
        return self


class Adversarial:
    """Nets, their average and optimisers by name; see the module's head."""

    # Two nets that a family adds: `generator`, of which an average is kept, and `discriminator`.
    ema: EMA

    def __init__(
        self, config: AdversarialConfig, problem: Problem, runtime: Runtime, seed: int
    ) -> None:
        self.problem, self.runtime, self._seed = problem, runtime, seed
        self._latent, self._augment = config.latent, config.augment
        self._together = config.together
        self.adaptive = Adaptive(config.ada.kimg, config.ada.target) if config.ada else None
        self.nets: dict[str, nn.Module] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        # Two streams: what is drawn on the CPU and what is drawn where the nets are.
        self.rngs = {
            "noise": torch_stream(seed, "noise"),
            "device": torch_stream(seed, "device", device=runtime.device),
        }
        self.seen = self.steps = 0
        self.present = torch.arange(len(problem.classes))
        self._stale = False  # the averaged weights moved since their batch statistics were computed

    def add(
        self, name: str, net: nn.Module, scheme: Scheme = "kaiming", *, spectral: bool = False
    ) -> nn.Module:
        """Draw a net's weights from the stream of its name and bring it to the device."""
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
        """Adam over a net's parameters, kept under `name`."""
        self.optimisers[name] = torch.optim.Adam(
            net.parameters(), learning_rate, betas=betas, eps=1e-8,
            fused=self.runtime.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        return self.optimisers[name]

    def update(self, name: str, loss: torch.Tensor) -> None:
        """One step of the optimiser `name` down `loss`."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.share_gradients(name)
        optimiser.step()

    def share_gradients(self, name: str) -> None:
        """Where a batch is divided among processes: the gradients of all of it, before the optimiser's step."""
        groups = self.optimisers[name].param_groups
        parallel.average_gradients(p for group in groups for p in group["params"])

    def stepped(self, n: int) -> None:
        """A step on n real images in each process is over: move the average, count."""
        n = parallel.everyone(n)
        self.ema.update(self.nets["generator"], self.seen, n)
        self.seen += n
        self.steps += 1
        self._stale = True

    def prepare(self, train: ImageSet) -> None:
        """Note which classes have images: no others are asked of the generator in training."""
        self.present = torch.tensor([c for c, n in train.counts().items() if n > 0])

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """N(0,1) of (N, latent), on the CPU; a family may let them depend on the class."""
        return torch.randn(len(labels), self._latent, generator=rng)

    def asked(self, n: int, rng: torch.Generator | None = None) -> torch.Tensor:
        """Labels for n fakes in each process, uniform over the classes that have images; given an rng, (n,)."""
        n = parallel.everyone(n) if rng is None else n
        return drawn_together(self.present, n, self._together, rng or self.rngs["noise"])

    def wrong(self, labels: torch.Tensor) -> torch.Tensor:
        """For each label another one of those present, uniformly; never the label itself. Needs two classes."""
        k = len(self.present)
        at = torch.searchsorted(self.present, labels.cpu())
        shift = torch.randint(1, k, (len(labels),), generator=self.rngs["noise"])
        return self.present[(at + shift) % k].to(labels.device)

    def noise(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels of all processes → this one's latents and labels on the device, for training."""
        z = parallel.own(self.latents(labels, self.rngs["noise"]))
        return z.to(self.runtime.device), parallel.own(labels).to(self.runtime.device)

    def own_part(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A step's uint8 (N,C,H,W), labels (N,) → this process's part on the device, in [-1,1]."""
        labels = parallel.own(labels).to(self.runtime.device)
        return to_float(self.runtime.move(parallel.own(images))), labels

    def in_class_order(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`own_part` of the step's images sorted by class."""
        labels, order = labels.to(self.runtime.device).sort(stable=True)
        return self.own_part(images.to(self.runtime.device)[order], labels)

    def augmented(self, x: torch.Tensor) -> torch.Tensor:
        """float (N,C,H,W) → changed as the config says, each image by its own draw."""
        p = self.adaptive.p if self.adaptive else 1.0
        x = x.float()
        return diff_augment(x, self._augment, self.rngs["device"], p) if p > 0 else x

    def observe(self, real: torch.Tensor) -> None:
        """Scores of reals, for ADA."""
        if self.adaptive:
            self.adaptive.observe(parallel.gather(real.detach()))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """No gradients for a net's own weights: the other one's backward pass needs none."""
        self.nets[name].requires_grad_(False)
        yield
        self.nets[name].requires_grad_(True)

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Images of the averaged generator, whose batch statistics are recomputed after each step."""
        if len(labels) == 0:
            return torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
        if self._stale:
            self._recalibrate()
        done = []
        for part in labels.split(SAMPLED_AT_ONCE):
            z = self.latents(part, rng).to(self.runtime.device)
            with self.runtime.autocast():
                images = self.ema.module(z, part.to(self.runtime.device))
            done.append(to_uint8(images).cpu())
        return torch.cat(done).contiguous()

    def _recalibrate(self) -> None:
        batches, size = RECALIBRATION
        # A stream of its own: looking at the generator must not change its training.
        rng = torch_stream(0, "recalibration")

        def inputs() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for _ in range(batches):
                labels = self.asked(size, rng)
                z = self.latents(labels, rng)
                yield z.to(self.runtime.device), labels.to(self.runtime.device)

        with self.runtime.autocast():
            recalibrate(self.ema.module, inputs())
        self._stale = False

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply every optimiser's learning rate."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] *= factor

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Take over a like generator's nets, the average for the generator; optimisers and counts stay fresh."""
        for name, net in self.nets.items():
            net.load_state_dict(state["nets"][name])
        # The average is the better generator, and its ramp forgets what it starts from at the first step.
        self.nets["generator"].load_state_dict(state["ema"])
        self.ema.module.load_state_dict(state["ema"])
        self._stale = True

    def more_state(self) -> dict[str, Any]:
        """What a family keeps besides."""
        return {}

    def load_more(self, state: Mapping[str, Any]) -> None:
        """Put back what `more_state` gave, before the rest is loaded."""

    def state_dict(self) -> dict[str, Any]:
        """Nets, average, optimisers, random streams, ADA, counts, and what the family adds."""
        return {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "ema": self.ema.module.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "rngs": capture(self.rngs),
            "ada": self.adaptive.state_dict() if self.adaptive else {},
            "present": self.present,
            "counts": {"seen": self.seen, "steps": self.steps, "stale": self._stale},
            "more": self.more_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        counts = state["counts"]
        self.seen, self.steps, self._stale = counts["seen"], counts["steps"], counts["stale"]
        self.present = state["present"].clone()
        self.load_more(state["more"])
        for name, net in self.nets.items():
            net.load_state_dict(state["nets"][name])
        self.ema.module.load_state_dict(state["ema"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        restore(self.rngs, state["rngs"])
        if self.adaptive:
            self.adaptive.load_state_dict(state["ada"])
