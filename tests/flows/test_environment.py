"""Imports leave the environment alone; the command sets it before Prefect and MLflow are imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import call
from tiny import ROOT, environment

from flows.environment import set_environment

IMPORTS = """
import importlib, os, pkgutil, sys
import albucore, prefect, sklearn, torch._dynamo  # what these and MLflow set is not ours
before = dict(os.environ)
def check():
    changed = {k for k in {*before, *os.environ} if before.get(k) != os.environ.get(k)}
    assert not changed, changed
# A worker imports the deployed flow, which sets the environment when it runs: not too late for MLflow.
import flows.refresh
assert "mlflow" not in sys.modules
check()
import mlflow
before = dict(os.environ)
import augpipe
for package in (augpipe, flows):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
check()
"""


def test_no_import_changes_the_environment(tmp_path: Path) -> None:
    env = environment(tmp_path, PYTHONPATH=str(ROOT))
    env.pop("PYTHONWARNINGS", None)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_command_sets_it_before_it_imports_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That `--version` imports neither Prefect nor MLflow: `test_imports`; what they read of it: `test_engine`."""
    expected = {
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    for name in expected:
        monkeypatch.delenv(name)
    assert call(monkeypatch, capsys, "--version")[0] == 0
    assert {name: os.environ[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (None, None, "127.0.0.1,localhost"),
        (None, "mlflow.corp.example", "mlflow.corp.example,127.0.0.1,localhost"),
        ("a.example", "b.example,localhost", "a.example,b.example,localhost,127.0.0.1"),
        (None, "*", None),
    ],
)
def test_this_machine_is_not_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, lower: str | None, upper: str | None, expected: str | None
) -> None:
    """Hosts of either variable stay in both: programs read the one or the other."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        for name, value in (("no_proxy", lower), ("NO_PROXY", upper)):
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        set_environment()
        found = [os.environ.get(name) for name in ("no_proxy", "NO_PROXY")]
    assert found == ([expected, expected] if expected else [lower, upper])
