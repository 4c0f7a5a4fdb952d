"""One training in several processes: each takes its rows of the global batch, and what is summed is summed over all.

Outside of such a training there is one process, and everything here hands back what it is given. What is random is drawn
for the global batch by every process alike, from equal streams, and each keeps its rows: the processes stay in step, and
what comes out is what one process makes of the same global batch, but for the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import distributed

T = TypeVar("T")


def size() -> int:
    """Processes of this training."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """This process's number among those of this training."""
    return distributed.get_rank() if _several() else 0


def leads() -> bool:
    """Whether this process is the one that writes and tells."""
    return rank() == 0


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def everyone(n: int) -> int:
    """How many all processes have where each has n."""
    return n * size()


def own(x: torch.Tensor) -> torch.Tensor:
    """This process's rows of a global batch (N,...); ValueError where the processes do not divide it evenly."""
    n = size()
    if n == 1:
        return x
    if len(x) % n:
        raise ValueError(f"{len(x)} rows are not to be divided among {n} processes")
    each = len(x) // n
    start = rank() * each
    return x[start : start + each]


class _Total(torch.autograd.Function):
    """Sum over processes; so is its gradient, which may be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        whole = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return total(gradients[0])


class _Gathered(torch.autograd.Function):
    """Every process's rows, in their order."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return own(total(gradients[0]))


def total(x: torch.Tensor) -> torch.Tensor:
    """x summed over processes; differentiable, twice too."""
    return cast(torch.Tensor, _Total.apply(x)) if size() > 1 else x


def gather(x: torch.Tensor) -> torch.Tensor:
    """(n,...) of each process → (n · processes, ...); differentiable. On the training's device."""
    return cast(torch.Tensor, _Gathered.apply(x)) if size() > 1 else x


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Each parameter's gradient becomes its mean over processes: the gradient of the global batch's mean loss.

    In one message, after the backward pass, as StyleGAN2-ADA does it (Karras et al. 2020): DDP's hooks take neither a
    net that is run several times a step nor a penalty on gradients.
    """
    if size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def means(values: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Each scalar's mean over processes; nan where any process has one that is not finite."""
    if size() == 1 or not values:
        return {name: float(value) for name, value in values.items()}
    together = torch.stack([value.float() for value in values.values()])
    distributed.all_reduce(together)
    found: Sequence[float] = (together / size()).tolist()
    return {
        name: value if math.isfinite(value) else math.nan
        for name, value in zip(values, found, strict=True)
    }


def wait_for_all() -> None:
    """Until every process is here."""
    if size() > 1:
        distributed.barrier()


def agreed(value: T) -> T:
    """The first process's value, for all of them: what a training decides by must not differ by a rounding."""
    if size() == 1:
        return value
    told: list[Any] = [value]
    distributed.broadcast_object_list(told, src=0)
    return cast(T, told[0])
