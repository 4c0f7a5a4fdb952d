"""What counts as stopped by a signal; that real ones stop a run: `tests/system/test_interrupt.py`."""

from __future__ import annotations

import signal

import pytest

from flows import signals
from flows.entry import STOPPED
from flows.exits import exit_message


@pytest.fixture(autouse=True)
def none_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_received", [])


def test_an_error_that_wraps_an_interrupt_is_the_interrupt() -> None:
    """Pydantic turns an exception raised within its serialiser into one of its own, without a cause."""
    assert exit_message(ValueError("Error calling function: KeyboardInterrupt: ")) is None
    with pytest.raises(KeyboardInterrupt):
        signals.interrupted(signal.SIGINT, None)
    assert exit_message(ValueError("Error calling function: KeyboardInterrupt: ")) == (130, STOPPED)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_termination_unwinds_with_its_status(number: int, status: int) -> None:
    with pytest.raises(signals.Terminated) as raised:
        signals.terminated(number, None)
    assert exit_message(raised.value) == (status, STOPPED)


def test_a_second_signal_does_not_cut_the_ending_short(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt):
        signals.interrupted(signal.SIGINT, None)
    now += signals.GRACE - 0.1
    signals.interrupted(signal.SIGINT, None)
    signals.terminated(signal.SIGTERM, None)
    now += 0.2  # unless it takes too long
    with pytest.raises(KeyboardInterrupt):
        signals.interrupted(signal.SIGINT, None)
    now += signals.ENDING + 1  # what fails much later fails by itself
    assert exit_message(ValueError("x")) is None
