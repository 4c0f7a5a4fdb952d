"""Data-parallel training: each process takes its rows of the global batch, and sums are reduced over all processes.

With a single process every function returns its input. All processes draw the same random numbers for the global batch
from equal streams and keep their own rows. They stay in step, and the result equals that of one process on the same
global batch, up to the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import distributed

T = TypeVar("T")


def size() -> int:
    """Number of processes of this training."""
    return distributed.get_world_size() if _several() else 1


def rank() -> int:
    """Rank of this process in the training."""
    return distributed.get_rank() if _several() else 0


def leads() -> bool:
    """Whether this process writes files and reports progress (rank 0)."""
    return rank() == 0


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def global_count(n: int) -> int:
    """Total over all processes if each has n."""
    return n * size()


def local_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of this process of a global batch (N,...); ValueError if it cannot be divided evenly."""
    n = size()
    if n == 1:
        return x
    if len(x) % n:
        raise ValueError(f"{len(x)} rows cannot be divided among {n} processes")
    each = len(x) // n
    start = rank() * each
    return x[start : start + each]


class _Total(torch.autograd.Function):
    """Sum over processes; its gradient is summed too and can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        summed = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return total(gradients[0])


class _Gathered(torch.autograd.Function):
    """Rows of all processes, in rank order."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return local_rows(total(gradients[0]))


def total(x: torch.Tensor) -> torch.Tensor:
    """x summed over processes; twice differentiable."""
    return cast(torch.Tensor, _Total.apply(x)) if size() > 1 else x


def gather(x: torch.Tensor) -> torch.Tensor:
    """(n,...) of each process → (n · processes, ...); differentiable. On the training's device."""
    return cast(torch.Tensor, _Gathered.apply(x)) if size() > 1 else x


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Average the gradients over processes: the gradient of the mean loss of the global batch.

    In one message after the backward pass, as in StyleGAN2-ADA (Karras et al. 2020): DDP's hooks support neither
    several forward passes of a network per step nor gradient penalties.
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
    """Mean of each scalar over processes; NaN if it is not finite in any process."""
    if size() == 1 or not values:
        return {name: float(value) for name, value in values.items()}
    together = torch.stack([value.float() for value in values.values()])
    distributed.all_reduce(together)
    averages: Sequence[float] = (together / size()).tolist()
    return {name: value if math.isfinite(value) else math.nan for name, value in zip(values, averages, strict=True)}


def wait_for_all() -> None:
    """Barrier: wait for all processes."""
    if size() > 1:
        distributed.barrier()


def agreed(value: T) -> T:
    """Value of rank 0, broadcast to all: decisions must not depend on rounding differences between processes."""
    if size() == 1:
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box, src=0)
    return cast(T, box[0])
