"""`augpipe doctor`: check versions, device, memory, folders and servers, each on its own, whatever else is broken."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from augpipe.core.errors import UserError, one_line
from augpipe.core.home import home, store_limit
from augpipe.core.machine import installed

from .doctor_servers import check_mlflow, check_prefect, check_proxies
from .environment import seconds

if TYPE_CHECKING:
    from packaging.requirements import Requirement

WORKER: Final = 10**9  # bytes of memory: a worker process with torch, and small data
ROOM: Final = 10**9  # bytes of a disk: a small run with its models and records
LEAST: Final = 10 * 2**20  # bytes of a disk: below this no run starts
SHOWN: Final = ("torch", "torchvision", "numpy", "prefect", "mlflow")
EXTRAS: Final = {
    "pydicom": "medical",
    "medmnist": "medmnist",
    "torch-fidelity": "fidelity",
    "prefect-dask": "distributed",
    "psycopg2-binary": "servers",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "c2pa-python": "c2pa",
    "datasets": "hf",
}
CGROUP: Final = Path("/sys/fs/cgroup")

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. A problem says what to do."""

    level: Level
    text: str


Pairs = Iterator[tuple[Level, str]]


def examine(out: Path | None) -> Iterator[Finding]:
    """The findings of every check. out: output folder of runs, or None for the default."""
    folders: dict[str, Callable[[], Path]] = {
        "AUGPIPE_HOME": home,
        "the out folder": lambda: out or home() / "runs",
        "the folder of temporary files": lambda: Path(tempfile.gettempdir()),
    }
    checks: dict[str, Callable[[], Pairs]] = {
        "versions": check_versions,
        "device": check_device,
        "cores": check_cores,
        "memory": check_memory,
        **{name: _folder_check(name, place) for name, place in folders.items()},
        "settings": check_settings,
        "MLflow": check_mlflow,
        "Prefect": check_prefect,
        "proxies": check_proxies,
    }
    for name, check in checks.items():
        try:
            for level, text in check():
                yield Finding(level, one_line(text))
        except UserError as error:
            yield Finding("problem", one_line(error))
        except Exception as error:  # one check that fails must not hide the others
            reason = one_line(f"{type(error).__name__}: {error}")[:300]
            yield Finding("problem", f"{name} cannot be checked ({reason})")


def check_versions() -> Pairs:
    """Python and every required library."""
    from packaging.requirements import Requirement  # here, so that a broken environment is reported
    from packaging.specifiers import SpecifierSet

    described = metadata.metadata("augpipe")
    wanted = SpecifierSet(described["Requires-Python"] or "")
    python = platform.python_version()
    yield ("ok", f"augpipe {described['Version']}, Python {python} on {platform.platform(terse=True)}")
    if not wanted.contains(python, prereleases=True):
        yield "problem", f"Python {python} is not supported; install augpipe with Python {wanted}"
    for text in metadata.requires("augpipe") or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from _check_requirement(requirement)
    yield "ok", ", ".join(f"{name} {version}" for name, version in installed(SHOWN).items())
    have = installed(EXTRAS)
    missing = [f"{name} (augpipe[{extra}])" for name, extra in EXTRAS.items() if name not in have]
    if missing:
        yield "note", f"optional libraries that are not installed: {', '.join(missing)}"


def _check_requirement(requirement: Requirement) -> Pairs:
    version = installed([requirement.name]).get(requirement.name)
    advice = f"pip install {str(requirement)!r}"
    if not version:
        yield "problem", f"{requirement.name} is not installed: {advice}"
    elif not requirement.specifier.contains(version, prereleases=True):
        yield "problem", f"{requirement.name} {version} does not fit this augpipe: {advice}"


def check_device() -> Pairs:
    """Whether torch and torchvision fit each other, and the device that runs use."""
    try:
        import torch
        import torchvision  # noqa: F401 (its operators fit this torch, or its import fails)
    except (ImportError, OSError, RuntimeError) as error:
        reason = one_line(error)[:200]
        yield (
            "problem",
            f"torch and torchvision cannot be imported together ({reason}): install both from one build flavour",
        )
        return
    from augpipe.core.device import pick_device, pick_precision

    device = pick_device("auto")
    name = f" ({torch.cuda.get_device_name()})" if device == "cuda" else ""
    yield "ok", f"device {device}{name}, precision {pick_precision(device, 'auto')}"
    if device == "cpu" and Path("/dev/nvidia0").exists():
        yield (
            "problem",
            f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it: install a torch with CUDA that fits "
            "the driver",
        )


def check_cores() -> Pairs:
    """Cores that processes may use, and how runs divide them."""
    from augpipe.core.machine import cores
    from augpipe.pipeline.context import workers_and_threads
    from augpipe.pipeline.runner import Runner

    workers, threads = workers_and_threads(Runner(), 1000)
    yield ("ok", f"{cores()} of {os.cpu_count()} cores: at most {workers} workers with {threads} threads each")
    quota = _cpu_quota()
    if quota is not None and quota < cores():
        yield (
            "problem",
            f"this container may use {quota:g} cores at a time, fewer than the {cores()} it sees: set runner.workers "
            "and runner.threads to 1, or raise its limit",
        )
    fixed = [f"{n}={os.environ[n]}" for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if n in os.environ]
    if fixed:
        yield "note", f"{', '.join(fixed)}: runs set their own number of threads (runner.threads)"


def _cpu_quota() -> float | None:
    """Cores that the control group of a container may use; None without a limit."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def check_memory() -> Pairs:
    """Memory that is free, and limits on it."""
    from augpipe.pipeline.context import workers_and_threads
    from augpipe.pipeline.runner import Runner

    total, free = _memory()
    workers, _ = workers_and_threads(Runner(), 1000)
    if total:
        yield "ok", f"memory: {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        if free < WORKER:
            yield (
                "problem",
                f"{free / 1e9:.1f} GB of memory are free, and a worker needs about {WORKER / 1e9:g}: end other "
                "programs",
            )
        elif free < workers * WORKER:
            yield (
                "note",
                f"{free / 1e9:.1f} GB of memory are too little for {workers} workers: --set runner.workers=1 uses the "
                "least",
            )
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield (
            "note",
            f"the address space is limited to {limit / 1e9:.1f} GB (ulimit -v); a run that does not fit ends with a "
            "message",
        )


def _memory() -> tuple[int, int]:
    """Bytes in all and free, within the limit of a container; 0 if unknown."""
    values: Mapping[str, int] = {}
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError, IndexError):
        limit = used = 0
    total, free = values.get("MemTotal", 0), values.get("MemAvailable", 0)
    if limit and limit < total:
        return limit, max(0, min(free, limit - used))
    return total, free


def _folder_check(name: str, place: Callable[[], Path]) -> Callable[[], Pairs]:
    def check() -> Pairs:
        from augpipe.report.out import check_place

        try:
            folder = place()
        except FileNotFoundError:
            yield "problem", f"{name}: none can be written to; set TMPDIR to a folder of yours"
            return
        check_place(folder, (), name)
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(existing).free
        new = "" if folder.exists() else ", which a run creates"
        if free < LEAST:
            yield (
                "problem",
                f"{name} {folder}: {free / 1e6:.0f} MB of its disk are free: free some, or choose another disk",
            )
        elif free < ROOM:
            yield (
                "problem",
                f"{name} {folder}: only {free / 1e6:.0f} MB of its disk are free: augpipe cache prune --older-than 7d "
                "frees some",
            )
        else:
            yield "ok", f"{name} {folder}{new}: can be written to, {free / 1e9:.1f} GB free"

    return check


def check_settings() -> Pairs:
    """Environment variables of augpipe that are not folders."""
    limit = store_limit()
    for name in ("AUGPIPE_TRACKING_PATIENCE", "AUGPIPE_PREFECT_PATIENCE"):
        seconds(name, 0.0)
    yield "ok", f"the store may take {limit / 1e9:g} GB (AUGPIPE_STORE_LIMIT)"
