"""Where and how arithmetic runs: device, precision, memory format, threads."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.options import Device, Precision


@dataclass(frozen=True)
class Runtime:
    """The device of this process, and how it computes there; made by `start`."""

    device: torch.device
    precision: Precision

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last where convolutions are faster that way: on CPUs and CUDA devices."""
        channels_last = self.device.type in {"cpu", "cuda"}
        return torch.channels_last if channels_last else torch.contiguous_format

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module here, in this device's memory format."""
        # nn.Module.to with both arguments is missing from torch's stubs.
        place: Any = module.to
        placed: nn.Module = place(device=self.device, memory_format=self.memory_format)
        return placed

    def move(self, images: torch.Tensor) -> torch.Tensor:
        """Move (N,C,H,W) images here, in this device's memory format."""
        return images.to(self.device, non_blocking=True).contiguous(memory_format=self.memory_format)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which forward passes run at this runtime's precision."""
        if self.precision == "32-true":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def fast_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere float32 is faster."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(probe and probe())
    return False


def pick_device(requested: Device) -> str:
    """`auto` → the first available of cuda, mps and cpu; UserError for an unavailable device."""
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name, present in have.items() if present]
    if requested != "auto" and requested not in available:
        raise UserError(f"no device {requested!r} on this machine; choose from {', '.join(available)}")
    return available[0] if requested == "auto" else requested


def pick_precision(device: str, requested: Precision) -> Precision:
    """`auto` → bf16-mixed where the device is fast at it, else 32-true."""
    if requested != "auto":
        return requested
    return "bf16-mixed" if fast_bf16(device) else "32-true"


def set_fill(fill: bool) -> bool:
    """Whether torch fills new tensors in deterministic mode, from now on; returns the previous setting."""
    module: Any = torch.utils.deterministic
    before: bool = module.fill_uninitialized_memory
    module.fill_uninitialized_memory = fill
    return before


def start(device: Device = "auto", precision: Precision = "auto", threads: int = 1) -> Runtime:
    """Set this process's thread count and choose device, precision and memory format.

    The number of threads changes the order of sums: equal runs need an equal number.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode would also fill each new tensor with NaN, to find code that reads it before it is written.
    set_fill(False)
    where = pick_device(device)
    if where == "cuda":
        # Makes cuBLAS deterministic; read when the device is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # In distributed training each process uses the GPU of its rank.
    name = f"cuda:{parallel.rank()}" if where == "cuda" else where
    return Runtime(torch.device(name), pick_precision(where, precision))


def require(devices: int, device: Device) -> None:
    """UserError if the machine has fewer devices of the kind; CPU processes are not limited."""
    where = pick_device(device)
    have = {"cuda": torch.cuda.device_count(), "mps": 1}.get(where, devices)
    if devices > have:
        raise UserError(f"runner.devices is {devices}, but this machine has {have} {where} devices")


class Pool:
    """Images and labels of a set, for gathering batches fast.

    The images are on the device if they take at most `limit` bytes, else memory-mapped.
    """

    def __init__(self, images: ImageSet, runtime: Runtime, limit: int = 2 * 2**30) -> None:
        self._source = images
        self._device = runtime.device
        self.labels = torch.from_numpy(np.array(images.labels)).to(self._device)
        self._resident: torch.Tensor | None = None
        if images.images.nbytes <= limit:
            self._resident = torch.from_numpy(np.array(images.images)).to(self._device)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """int64 (N,) → uint8 (N,C,H,W) on the device."""
        if self._resident is not None:
            return self._resident[rows.to(self._device)]
        return torch.from_numpy(self._source.images[rows.cpu().numpy()]).to(self._device)


class ClassRows:
    """Rows sorted by class, so that a uniform number picks one without a loop.

    Within a class an image is drawn in proportion to its weight (the table's `weight`; equal by default).
    """

    def __init__(self, images: ImageSet) -> None:
        labels = torch.from_numpy(np.array(images.labels))
        self._order = torch.argsort(labels, stable=True)
        self.sizes = torch.bincount(labels, minlength=len(images.classes))
        self._starts = torch.cumsum(self.sizes, 0) - self.sizes
        weights = np.array(images.table["weight"], np.float64)
        self._ends: torch.Tensor | None = None
        if len(weights) and not (weights == weights[0]).all():
            # Cumulative weights: class c covers the interval [c, c + 1), divided among its rows by weight.
            sorted_weights = torch.from_numpy(weights)[self._order]
            sorted_labels = labels[self._order]
            # Per class: in one sum, small weights would be lost next to a class with large ones.
            ends = [torch.cumsum(part, 0) / part.sum() for part in sorted_weights.split(self.sizes.tolist())]
            self._ends = sorted_labels + torch.cat(ends)

    def pick(self, labels: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Row of each label, selected within its class by u in [0,1); ValueError for a class without images."""
        if len(labels) and int(self.sizes[labels].min()) == 0:
            empty = int(labels[self.sizes[labels] == 0][0])
            raise ValueError(f"no image of class {empty} to pick")
        if self._ends is None:
            position = self._starts[labels] + (u * self.sizes[labels]).long()
        else:
            position = torch.searchsorted(self._ends, labels + u, right=True)
            # Rounding may end a class's interval slightly early.
            last = self._starts[labels] + self.sizes[labels] - 1
            position = torch.maximum(torch.minimum(position, last), self._starts[labels])
        return self._order[position]
