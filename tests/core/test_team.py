from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import teams
import warm

from augpipe.core.errors import RunError, UserError


def together(work: Callable[..., Any], *given: Any) -> Any:
    """What a team of two gives; its processes are forks, but for `test_none_outlives_the_one_that_began_them`."""
    return warm.call(teams.launched, work, *given, workers=2)


def test_a_users_mistake_comes_out_as_one() -> None:
    with pytest.raises(UserError, match=r"image\.size is 17"):
        together(teams.mistaken)


def test_a_process_that_breaks_ends_the_others_and_says_why() -> None:
    with pytest.raises(RuntimeError) as caught:
        together(teams.broken)
    assert str(caught.value) == "the second one is broken"
    with pytest.raises(UserError) as told:
        together(teams.one_sided)
    assert str(told.value) == "No space left on device"
    with pytest.raises(RunError, match="process 1 of a training was ended by SIGKILL"):
        together(teams.killed)


def alive(numbers: list[int]) -> list[int]:
    """Those of the processes that have not ended."""
    found = []
    for number in numbers:
        stat = Path(f"/proc/{number}/stat")
        with suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(number)
    return found


def gone(numbers: list[int]) -> bool:
    until = time.monotonic() + 5
    while alive(numbers) and time.monotonic() < until:
        time.sleep(0.1)
    return not alive(numbers)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_none_outlives_the_one_that_began_them(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, str(Path(teams.__file__)), str(tmp_path)])
    try:
        numbers = teams.begun(tmp_path)
        assert alive(numbers) == numbers
    finally:
        process.kill()
        process.wait()
    assert gone(numbers)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_a_time_out_ends_them(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="too long"):
        warm.call(teams.rung, str(tmp_path), workers=2)
    assert len(list(tmp_path.iterdir())) == 2
    assert gone([int(mark.name) for mark in tmp_path.iterdir()])
