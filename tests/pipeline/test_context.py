from __future__ import annotations

from typing import Any

import pytest

from augpipe.core.errors import UserError
from augpipe.core.machine import cores
from augpipe.pipeline.context import check_threads, workers_and_threads
from augpipe.pipeline.runner import Runner


def test_workers_share_the_cores() -> None:
    n = cores()

    def shared(workers: int | str, jobs: int, **more: Any) -> tuple[int, int]:
        return workers_and_threads(Runner(workers=workers, device="cpu", **more), jobs)

    assert shared("auto", jobs=100) == (n, 1)
    assert shared(1, jobs=100) == (1, n)
    assert shared("auto", jobs=1) == (1, n)
    assert shared(8 * n, jobs=100) == (8 * n, 1)
    assert shared(1, jobs=100, threads=7) == (1, 7)
    # A Dask worker may stand on any machine, beside any number of others.
    dask = {"kind": "dask", "address": "tcp://127.0.0.1:8786"}
    assert shared(1, jobs=100, **dask)[1] == 1 and shared(1, jobs=100, threads=3, **dask)[1] == 3


def test_more_threads_than_cores_are_refused() -> None:
    n = cores()
    with pytest.raises(UserError, match=rf"runner\.threads is {n + 1}, but this process may use {n} core"):
        check_threads(Runner(threads=n + 1))
    check_threads(Runner(threads=n))
    check_threads(Runner())
    check_threads(Runner(threads=n + 1, kind="dask", address="tcp://127.0.0.1:8786"))
