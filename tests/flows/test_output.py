from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from flows.cli_models import _print_rows
from flows.output import Lossy, print_json


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_of_any_values_on_any_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    print_json({"Über": [float("nan"), 1.5, (float("inf"), 2)], "b": {"c": None}})
    assert json.loads(raw.getvalue()) == {"Über": [None, 1.5, [None, 2]], "b": {"c": None}}


def test_predictions_in_parts_are_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    known = pd.DataFrame(
        {"id": ["a", 'b"'], "predicted": ["x", None], "probability": [0.25, None], "problem": ["", "cut off"]}
    )
    bad = pd.DataFrame({"id": ["c"], "problem": ["no picture"]})
    assert _print_rows(iter([known, bad])) == (3, 2)
    values = json.loads(capsys.readouterr().out)
    assert (values["pictures"], values["unreadable"], values["out"]) == (3, 2, None)
    assert values["predictions"][0] == {"id": "a", "predicted": "x", "probability": 0.25, "problem": ""}
    assert [row["id"] for row in values["predictions"]] == ["a", 'b"', "c"]
    assert values["predictions"][2]["probability"] is None
    assert _print_rows(iter([])) == (0, 0)
    assert json.loads(capsys.readouterr().out)["predictions"] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_notes_on_a_full_disk_are_lost_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", Lossy(full))
        for _ in range(2):
            Console(stderr=True).print("a note")
        assert str(Path(f"/proc/self/fd/{full.fileno()}").readlink()) == os.devnull
    ours, theirs = os.pipe()
    os.close(ours)  # nobody reads it
    with pytest.raises(BrokenPipeError), os.fdopen(theirs, "w", buffering=1) as broken:
        Lossy(broken).write("a note\n")
