"""Under `ulimit -v`: end with an error before a library waits for memory that the process may not have.

OpenBLAS, which NumPy and SciPy load, takes a buffer for each thread while it is loaded, and one more when it first
multiplies matrices. Where the limit allows none it tries again for ever, in code that no signal interrupts, or ends the
process with a line of its own.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

PACKAGES: Final = ("numpy.", "scipy.")
LIBRARY: Final = 128 * 2**20  # bytes: the library, and what is loaded before the next check
THREAD: Final = 48 * 2**20  # bytes: a thread's buffer and stack


SIDE: Final = 256  # of a matrix that is multiplied in blocks, for which the buffer is taken


class _Probe:
    """Finds no module; MemoryError before one of PACKAGES is loaded without room for its threads.

    Takes NumPy's further buffer as soon as NumPy is there: what is imported later may leave no room for it.
    """

    def __init__(self) -> None:
        self._has_buffer = False

    @staticmethod
    def _has_numpy() -> bool:
        return hasattr(sys.modules.get("numpy"), "matmul")

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.startswith("numpy.") and self._has_numpy():
            return None  # its OpenBLAS is there
        if name.startswith(PACKAGES):
            check_room(LIBRARY + THREAD * _threads())
        elif not self._has_buffer and self._has_numpy():
            self._has_buffer = True
            check_room(THREAD)
            square = sys.modules["numpy"].ones((SIDE, SIDE))
            square @ square
        return None


def watch_limit() -> None:
    """From now on modules of PACKAGES are loaded only if there is room; without a limit nothing changes."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        sys.meta_path.insert(0, _Probe())


def check_room(size: int) -> None:
    """MemoryError if the process may not have so many more bytes of address space; none are used."""
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        raise MemoryError(f"the address space is limited to {limit / 1e6:,.0f} MB, see ulimit -v") from None


def _threads() -> int:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
