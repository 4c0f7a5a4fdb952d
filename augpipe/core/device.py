"""Where and how arithmetic runs: device, precision, memory format, threads (Lightning Fabric)."""

from __future__ import annotations

import logging
import os
import platform
import sys
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.options import Device, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def cores() -> int:
    """Processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class Runtime:
    """One device's ways; made by `start`."""

    fabric: Fabric
    precision: str
    memory_format: torch.memory_format

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module here, in this device's memory format."""
        # nn.Module.to with both arguments is missing from torch's stubs.
        place: Any = module.to
        placed: nn.Module = place(device=self.device, memory_format=self.memory_format)
        return placed

    def move(self, images: torch.Tensor) -> torch.Tensor:
        """Move (N,C,H,W) images here, in this device's memory format."""
        return images.to(self.device, non_blocking=True).contiguous(
            memory_format=self.memory_format
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which forward passes run at this runtime's precision."""
        return self.fabric.autocast()


def fast_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere float32 is faster."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(probe and probe())
    return False


def pick_device(asked: Device) -> str:
    """`auto` → cuda, mps or cpu, the first there is; UserError for one there is not."""
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    there = [name for name, here in have.items() if here]
    if asked != "auto" and asked not in there:
        raise UserError(f"no device {asked!r} on this machine; have {', '.join(there)}")
    return there[0] if asked == "auto" else asked


def pick_precision(device: str, asked: Precision) -> Precision:
    """`auto` → bf16-mixed where the device is fast at it, else 32-true."""
    if asked != "auto":
        return asked
    return "bf16-mixed" if fast_bf16(device) else "32-true"


def _fabric() -> type[Fabric]:
    """The class, without what its import drags along.

    Fabric imports torchmetrics to read its version, and that imports torchvision: 200 MB and two seconds
    of every worker. A module that is None counts as not installed.
    """
    unread = "torchmetrics" not in sys.modules
    if unread:
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]
    try:
        from lightning_fabric import Fabric
    finally:
        if unread:
            del sys.modules["torchmetrics"]
    return Fabric


# This process's, where it is one of several that train together.
_joined: list[Fabric] = []


def start(device: Device = "auto", precision: Precision = "auto", threads: int = 1) -> Runtime:
    """Set this process's thread count and choose device, precision and memory format.

    The number of threads changes the order of sums: equal runs need an equal number.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    where = pick_device(device)
    if where == "cuda":
        # What cuBLAS needs to give the same sums twice; read when the device is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    precision = pick_precision(where, precision)
    if _joined:
        return _runtime(_joined[0], precision)
    fabric = _built(accelerator=where, devices=1, precision=precision)
    return _runtime(fabric, precision)


def _built(**options: Any) -> Fabric:
    """A Fabric that says nothing: it announces its precision at every start, and a run starts one in each task."""
    build = _fabric()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Fabric warns where it stands in a process pool's worker; one device needs no launcher.
        warnings.simplefilter("ignore")
        return build(**options)


def _runtime(fabric: Fabric, precision: str) -> Runtime:
    channels_last = fabric.device.type in {"cpu", "cuda"}
    return Runtime(
        fabric, precision, torch.channels_last if channels_last else torch.contiguous_format
    )


def require(devices: int, device: Device) -> None:
    """UserError where the machine has not so many devices of a kind; processes on the CPU there are always."""
    where = pick_device(device)
    have = {"cuda": torch.cuda.device_count(), "mps": 1}.get(where, devices)
    if devices > have:
        raise UserError(f"runner.devices is {devices}; this machine has {have} of {where}")


def join(devices: int, device: Device, precision: Precision) -> None:
    """Make this process, whose group is there, one of several that train together: `start` gives it its device."""
    where = pick_device(device)
    precision = pick_precision(where, precision)
    _fabric()  # before its parts, for the sake of what its import drags along
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    # Told which one: on a cluster it would take the cluster's own numbers for those of these processes.
    plugins = [LightningEnvironment()]
    fabric = _built(
        accelerator=where, devices=devices, strategy="ddp", precision=precision, plugins=plugins
    )
    fabric.launch()
    _joined.append(fabric)


def environment(runtime: Runtime) -> dict[str, Any]:
    """What results follow from besides config and data: versions, device, precision, threads."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("augpipe", "numpy")},
        "torch": str(torch.__version__),  # with its build
        "device": runtime.device.type,
        "precision": runtime.precision,
        "threads": torch.get_num_threads(),
        "processes": parallel.size(),
    }


class Pool:
    """A set's images and labels where a loop can gather batches from them fast.

    The images lie on the device where they take no more than `limit` bytes, else they stay memory-mapped.
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
    """Rows of each class side by side, so that a uniform number picks one without a loop.

    Within a class an image comes as often as its weight says (the table's `weight`; equal by default).
    """

    def __init__(self, images: ImageSet) -> None:
        labels = torch.from_numpy(np.array(images.labels))
        self._order = torch.argsort(labels, stable=True)
        self.sizes = torch.bincount(labels, minlength=len(images.classes))
        self._starts = torch.cumsum(self.sizes, 0) - self.sizes
        weights = np.array(images.table["weight"], np.float64)
        self._ends: torch.Tensor | None = None
        if len(weights) and not (weights == weights[0]).all():
            # Where each row's part of its class's unit interval ends, after as many units as classes before.
            own = torch.from_numpy(weights)[self._order]
            of = labels[self._order]
            # Class by class: beside a class of large weights small ones would be lost in the sum.
            ends = [torch.cumsum(part, 0) / part.sum() for part in own.split(self.sizes.tolist())]
            self._ends = of + torch.cat(ends)

    def pick(self, labels: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """For each label the row that u in [0,1) names within its class; ValueError for one without images."""
        if len(labels) and int(self.sizes[labels].min()) == 0:
            empty = int(labels[self.sizes[labels] == 0][0])
            raise ValueError(f"there is no image of class {empty} to pick")
        if self._ends is None:
            at = self._starts[labels] + (u * self.sizes[labels]).long()
        else:
            at = torch.searchsorted(self._ends, labels + u, right=True)
            # Rounding may put the last of a class's interval a hair before its end.
            last = self._starts[labels] + self.sizes[labels] - 1
            at = torch.maximum(torch.minimum(at, last), self._starts[labels])
        return self._order[at]
