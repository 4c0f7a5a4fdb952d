"""Exponential moving average of a generator's weights, and batch statistics that fit it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from augpipe.nn.norms import GlobalBatchNorm2d


class EMA:
    """Average of a module's parameters with half-life `half_kimg` (in thousands of images seen).

    The half-life ramps up with training: min(half_kimg, ramp · kimg seen), so that early weights do not
    linger (Karras et al. 2020, ADA). Buffers are copied; see `recalibrate` for batch statistics.
    """

    def __init__(self, module: nn.Module, half_kimg: float = 5.0, ramp: float = 0.05) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        for part in self.module.modules():
            if isinstance(part, GlobalBatchNorm2d):
                part.alone = True  # all processes recalibrate it, on equal batches
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
        torch._foreach_lerp_(means, now, 1 - beta)  # one call: small nets have many small tensors
        for kept, current in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(current)


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Set the running statistics of every BatchNorm to the mean over `batches` of its inputs'.

    Averaged weights with another net's running statistics draw washed-out images. Leaves the module
    in eval mode; does nothing where there is no BatchNorm.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    module.eval()  # dropout, say, stays as in sampling
    for norm in norms:
        norm.train()
    for batch in batches:
        module(*batch)
    module.eval()
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
