"""Exponential moving average of a generator's weights, and batch-norm statistics recomputed for it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from augpipe.nn.norms import GlobalBatchNorm2d


class EMA:
    """Average of a module's parameters with half-life `half_kimg` (in thousands of images seen).

    The half-life ramps up with training: min(half_kimg, ramp · kimg seen), so that early weights are
    forgotten quickly (Karras et al. 2020, ADA). Buffers are copied; see `recalibrate` for batch statistics.
    """

    def __init__(self, module: nn.Module, half_kimg: float = 5.0, ramp: float = 0.05) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        for layer in self.module.modules():
            if isinstance(layer, GlobalBatchNorm2d):
                layer.alone = True  # every process recalibrates it on identical batches
        self.half_kimg = half_kimg
        self.ramp = ramp

    def decay(self, seen: int, batch: int) -> float:
        """Weight of the old average after a step of `batch` images, with `seen` images before it."""
        half = min(self.half_kimg * 1000, self.ramp * seen)
        return 0.5 ** (batch / half) if half > 0 else 0.0

    @torch.no_grad()
    def update(self, module: nn.Module, seen: int, batch: int) -> None:
        """Move the average towards `module` after a step."""
        beta = self.decay(seen, batch)
        means: list[torch.Tensor] = list(self.module.parameters())
        now: list[torch.Tensor] = list(module.parameters())
        torch._foreach_lerp_(means, now, 1 - beta)  # one fused call: small nets have many small tensors
        for average, current in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(current)


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Recompute the running statistics of every BatchNorm as their mean over `batches` (forward arguments).

    Averaged weights with the running statistics of the raw weights give washed-out images. Leaves the module
    in eval mode; without a BatchNorm it does nothing.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    module.eval()  # dropout and the like stay off, as in sampling
    for norm in norms:
        norm.train()
    for batch in batches:
        module(*batch)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
