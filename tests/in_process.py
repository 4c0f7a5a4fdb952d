"""The command in this process."""

from __future__ import annotations

import sys

import pytest

from flows import cli


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command in this process, up to where work would begin; status and what it said."""
    monkeypatch.setattr(sys, "argv", ["augpipe", *arguments])
    status = 0
    try:
        cli.main()
    except SystemExit as error:
        status = int(error.code or 0)
    said = capsys.readouterr()
    return status, (said.err or said.out).strip()
