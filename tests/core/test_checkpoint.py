from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from augpipe.core.checkpoint import Checkpoint, differences
from augpipe.core.errors import UserError

HEADER = {"config": {"kind": "acgan", "width": 0.5}, "seed": 3, "with": {"torch": "2.0"}}


def test_differences_name_the_key_and_both_values() -> None:
    there = {"threads": 2, "torch": "2.0"}
    assert list(differences(there, {**there, "threads": 7})) == ["threads is 7 here and was 2"]


def test_there_and_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "last.pt", HEADER)
    assert checkpoint.load() is None
    checkpoint.save({"x": torch.arange(3), "n": 1.5})
    back = checkpoint.load()
    assert back is not None and back["n"] == 1.5 and torch.equal(back["x"], torch.arange(3))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["last.pt"]  # nothing half-written beside it
    checkpoint.remove()
    assert checkpoint.load() is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 4}, r"seed is 4 here and was 3$"),
        ({"config": {"kind": "acgan", "width": 1.0}}, r"config\.width is 1\.0 here and was 0\.5$"),
        ({"config": {"kind": "acgan"}}, r"config\.width is None here and was 0\.5$"),
        ({"with": {"torch": "9"}, "seed": 0}, r"\(and 1 more difference\)"),
    ],
)
def test_another_header_is_refused_with_what_differs(tmp_path: Path, change, told) -> None:
    Checkpoint(tmp_path / "last.pt", HEADER).save({})
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=told):
        Checkpoint(tmp_path / "last.pt", {**HEADER, **change}).load()
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.pt is not an augpipe checkpoint"):
        Checkpoint(path, HEADER).load()


def test_a_flipped_bit_is_noticed_or_has_no_effect(tmp_path: Path) -> None:
    """Some bits of the archive are padding. torch itself reads other weights without a word."""
    checkpoint = Checkpoint(tmp_path / "last.pt", HEADER)
    weights = torch.linspace(0, 1, 100)
    checkpoint.save({"x": weights})
    whole, refused = checkpoint.path.read_bytes(), 0
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        checkpoint.path.write_bytes(damaged)
        try:
            state = checkpoint.load()
        except UserError:
            refused += 1
        else:
            assert state is not None and torch.equal(state["x"], weights), at
    assert refused > 60  # the weights alone are 57 of them


def test_a_damaged_checkpoint_of_our_own_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = Checkpoint(tmp_path / "last.pt", HEADER, disposable=True)
    checkpoint.path.write_bytes(b"PK")
    assert checkpoint.load() is None and not checkpoint.path.exists()
    assert "the training starts again" in caplog.text


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"header": HEADER, "x": Evil()}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="not an augpipe checkpoint"):
        Checkpoint(tmp_path / "last.pt", HEADER).load()
    assert not (tmp_path / "ran").exists()
