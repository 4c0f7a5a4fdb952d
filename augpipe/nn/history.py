"""What a training remembers of its past: mean weights, mean scores, and fakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.images import to_float, to_uint8


class WeightHistory:
    """Mean of a net's weights over all updates, and the penalty ||θ - mean θ||² (Salimans et al. 2016, 3.3)."""

    def __init__(self, net: nn.Module) -> None:
        self._weights: list[torch.Tensor] = list(net.parameters())
        self.restart()

    def restart(self) -> None:
        """Forget the past: the mean is the weights of now."""
        self._means = [weight.detach().clone() for weight in self._weights]
        self._updates = 1

    def penalty(self) -> torch.Tensor:
        """||θ - mean θ||², a scalar; differentiable in θ."""
        distances = [(w - mean).square().sum() for w, mean in zip(self._weights, self._means, strict=True)]
        return torch.stack(distances).sum()

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights of now; call it after an update."""
        self._updates += 1
        torch._foreach_lerp_(self._means, self._weights, 1 / self._updates)

    def state_dict(self) -> dict[str, Any]:
        """The means, and the number of updates."""
        return {"means": [mean.clone() for mean in self._means], "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._means = [mean.to(w, copy=True) for mean, w in zip(state["means"], self._weights, strict=True)]
        self._updates = state["updates"]


class ScoreMeans:
    """Running means of the critic's scores of reals and of fakes (LeCam, Tseng et al. 2021)."""

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.real = self.fake = torch.zeros(())
        self._started = False

    @torch.no_grad()
    def observe(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """Record the scores (N,), (M,) of a batch; the first one's means are taken as they are."""
        real, fake = parallel.gather(real.detach()).mean(), parallel.gather(fake.detach()).mean()
        if self._started:
            real, fake = (torch.lerp(now, mean, self.decay) for now, mean in ((real, self.real), (fake, self.fake)))
        self.real, self.fake, self._started = real, fake, True

    def state_dict(self) -> dict[str, Any]:
        """Both means."""
        return {"real": self.real, "fake": self.fake, "started": self._started}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` returned."""
        self.real, self.fake = state["real"].to(device), state["fake"].to(device)
        self._started = state["started"]


class PastFakes:
    """A buffer of past fakes, stored as uint8; half of the critic's fakes come from it (Shrivastava et al. 2017, 2.3).

    It fills up first. From then on half of each batch is exchanged with random images of the buffer, whose places the
    batch's images take.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images, self.labels = torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)

    def exchange(
        self, images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fakes (N,C,H,W) in [-1,1], labels (N,) of the global batch → those to be shown; rng: on the CPU."""
        stored = to_uint8(images)
        room = self.capacity - len(self.labels)
        if room > 0:
            before = [self.images] if len(self.labels) else []
            self.images = torch.cat([*before, stored[:room]])
            self.labels = torch.cat([self.labels.to(labels.device), labels[:room]])
            return images, labels
        n = min(len(labels) // 2, self.capacity)
        rows = torch.randperm(len(labels), generator=rng)[:n].to(labels.device)
        places = torch.randperm(self.capacity, generator=rng)[:n].to(labels.device)
        shown, shown_labels = images.clone(), labels.clone()
        shown[rows], shown_labels[rows] = to_float(self.images[places]).to(images), self.labels[places]
        self.images[places], self.labels[places] = stored[rows], labels[rows]
        return shown, shown_labels

    def state_dict(self) -> dict[str, Any]:
        """The images and labels."""
        return {"images": self.images, "labels": self.labels}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` returned."""
        self.images, self.labels = (state[name].to(device, copy=True) for name in ("images", "labels"))
