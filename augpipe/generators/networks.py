"""Base class of the families that train networks: nets, weight average, optimisers, random streams and state.

Nothing here depends on a family. `latents` adds images that are one net's of a latent, `adversarial` a discriminator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, to_float
from augpipe.core.seeds import capture, restore, torch_stream
from augpipe.generators.class_draws import drawn_together
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Problem
from augpipe.nn.blocks import Scheme, initialise, use_rng
from augpipe.nn.ema import EMA
from augpipe.nn.norms import norms_global, spectral_norm


class NetworkConfig(GeneratorConfig):
    """Options of all families that train networks."""

    width: float = Field(default=1.0, gt=0, le=64)
    """Multiplier of the family's channel counts."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of Adam."""

    ema_half_kimg: float = Field(default=5.0, gt=0)
    """Half-life of the generator's weight average (EMA), in thousands of real images."""


class NetworkGenerator:
    """Nets and optimisers by name, and the average of the generator's weights."""

    # A family adds a net named `generator`, and sets `ema`, the average of it.
    ema: EMA

    def __init__(self, config: NetworkConfig, problem: Problem, runtime: Runtime, seed: int) -> None:
        self.problem, self.runtime, self._seed = problem, runtime, seed
        self._together = config.together
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

    def draw_labels(self, n: int, rng: torch.Generator | None = None) -> torch.Tensor:
        """Draw labels of n fakes per process, uniform over classes with train images; with an rng, n in all."""
        n = parallel.global_count(n) if rng is None else n
        return drawn_together(self.present, n, self._together, rng or self.rngs["noise"])

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """N(0,1), float32, in the shape of this process's rows; the global batch is drawn from the device's stream."""
        shape = (parallel.global_count(len(like)), *like.shape[1:])
        return parallel.local_rows(torch.randn(shape, generator=self.rngs["device"], device=self.runtime.device))

    def local_batch(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Global batch uint8 (N,C,H,W), labels (N,) → this process's rows on the device, images in [-1,1]."""
        labels = parallel.local_rows(labels).to(self.runtime.device)
        return to_float(self.runtime.move(parallel.local_rows(images))), labels

    def in_class_order(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sort the global batch by class, then return `local_batch` of it."""
        labels, order = labels.to(self.runtime.device).sort(stable=True)
        return self.local_batch(images.to(self.runtime.device)[order], labels)

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
        """Nets, weight average, optimisers, random streams, counts and the family's `extra_state`."""
        return {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "ema": self.ema.module.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "rngs": capture(self.rngs),
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
