"""What tests call in a forked process of its own: for its memory, its processor time or its user."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import warm
from pictures import source, why

from augpipe.core import neighbours
from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.intake import take_in
from augpipe.data.options import Policy
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, pixels

RESET = Path("/proc/self/clear_refs")  # after 5 is written to it, the peak is counted anew


def growth(call: Callable[[], object], first: Callable[[], object] | None = None) -> int:
    """By how many bytes the peak of a process grows in a call of one of the functions below.

    first: called before the measurement, as by importing what the call needs.
    """
    if not RESET.exists():
        pytest.skip("no /proc on this system")
    return warm.call(_growth, call, first)


def _growth(call: Callable[[], object], first: Callable[[], object] | None) -> int:
    if first is not None:
        first()
    RESET.write_text("5")
    before = _peak()
    call()
    return _peak() - before


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def nearest_of_many() -> None:
    """All pairs of these are 4 GB at once; the sets themselves 28 MB."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(100_000, 64)).astype(np.float32)
    queries = points[:10_000] + np.float32(1e-3)
    rows = neighbours.nearest(queries, points)[1]
    assert (rows[:, 0] == np.arange(len(queries))).all()


def _pictures(side: int) -> Embedded:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, side, side), dtype=np.uint8)
    return Embedded(images[:, 0, :1, 0], images[:, 0, :2, 0], np.zeros(20, np.int64), images)


def small_pairs() -> None:
    pixels.ssim(Compared(_pictures(12), _pictures(12)))


def larger_pairs() -> None:
    """200 pairs of colour pictures of 96 px are 44 MB as float32, and a multiple of it while they are compared."""
    pixels.ssim(Compared(_pictures(96), _pictures(96)))


def intake_of(table: Path) -> tuple[int, float, int, str]:
    """Of a table: unusable files, seconds of processor time, bytes of memory,
    and the message with which its intake ends.
    """
    before, begun = _peak(), time.process_time()
    listing = sources.listing(source("manifest", path=table))
    seconds, memory = time.process_time() - begun, _peak() - before
    try:
        take_in(listing, ImageOptions(), Policy())
    except UserError as error:
        return len(listing.bad), seconds, memory, str(error)
    return len(listing.bad), seconds, memory, ""


def intake_without_rights(folder: Path) -> tuple[dict[str, str], int]:
    """Files of a folder that another user than the super-user cannot use, with the reason,
    and the number of the others.
    """
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        taken = take_in(sources.listing(source("folder", path=folder)), ImageOptions(), None)
        return why(taken), len(taken.rows)
    finally:
        os.seteuid(user)
