"""What a result depends on besides configuration, data and code, described without torch."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from augpipe.core import machine


def test_an_environment_names_versions_and_arithmetic() -> None:
    found = machine.environment("cpu", "32-true", 2)
    assert found["torch"] == version("torch") and found["precision"] == "32-true"
    assert found != machine.environment("cpu", "32-true", 3)
    assert found != machine.environment("cpu", "bf16-mixed", 2)
    assert found != machine.environment("cpu", "32-true", 2, processes=2)


def test_a_limit_on_instructions_is_part_of_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch then chooses other kernels, which add in another order."""
    machine._cpu.cache_clear()
    before = machine.chip("cpu")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    machine._cpu.cache_clear()
    assert machine.chip("cpu") != before
    machine._cpu.cache_clear()
