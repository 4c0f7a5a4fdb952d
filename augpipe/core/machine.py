"""Describe the machine without importing torch: versions, device, precision, threads, processor."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

# Instruction sets that select different kernels, with a different order of sums.
INSTRUCTIONS: Final = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_tile",
    "asimd",
    "bf16",
    "sve",
    "sve2",
)


def cores() -> int:
    """Processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def environment(device: str, precision: str, threads: int, processes: int = 1) -> dict[str, str | int]:
    """Versions and settings that a result depends on besides configuration, data and code.

    device, precision: resolved names, never `auto`. threads: of each process. processes: that train one model together.
    """
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("augpipe", "numpy", "torch")},
        "device": device,
        "precision": precision,
        "threads": threads,
        "processes": processes,
    }


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of those libraries that are installed."""
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def chip(device: str) -> str:
    """The processor's instruction sets, or the GPU's name: another one may round differently."""
    if device != "cuda":
        return _cpu()
    import torch  # only with a GPU, when torch is needed anyway

    return str(torch.cuda.get_device_name())


@cache
def _cpu() -> str:
    limit = os.environ.get("ATEN_CPU_CAPABILITY", "")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return " ".join((platform.machine(), platform.processor(), limit)).strip()
    flags: Any = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    present = set(flags.partition(":")[2].split())
    return " ".join((platform.machine(), *(f for f in INSTRUCTIONS if f in present), limit)).strip()
