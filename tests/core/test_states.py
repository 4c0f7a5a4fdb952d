"""Equal states give equal bytes, and come back as they were."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from augpipe.core.states import save_state


def written(state: dict[str, Any], path: Path) -> bytes:
    save_state(state, path)
    return path.read_bytes()


def apart(text: str) -> str:
    """An equal text that is another object."""
    return "".join(list(text))


WORD, ROW = apart("mean of all"), (1, 2)
WIDE = torch.arange(12.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": WORD, "b": WORD}, {"a": apart(WORD), "b": apart(WORD)}),
        ({WORD: 1, "b": {WORD: 2}}, {apart(WORD): 1, "b": {apart(WORD): 2}}),
        ({"a": ROW, "b": [ROW]}, {"a": (1, 2), "b": [tuple(n for n in ROW)]}),
        ({"a": WIDE[:4], "b": WIDE[4:8]}, {"a": WIDE[:4].clone(), "b": WIDE[4:8].clone()}),
        ({"a": WIDE, "b": WIDE}, {"a": WIDE, "b": WIDE.clone()}),
        ({"a": nn.Parameter(WIDE)}, {"a": WIDE}),
    ],
)
def test_what_is_equal_but_shared_gives_the_same_bytes(
    one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (written(state, tmp_path / "x") for state in (one, other))
    assert first == second
    torch.save(one, tmp_path / "plain")
    read = torch.load(tmp_path / "plain", weights_only=True)
    assert written(read, tmp_path / "x") == first


def test_what_differs_gives_other_bytes(tmp_path: Path) -> None:
    states = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": WIDE}, {"a": WIDE + 1}, {"a": WIDE.double()}, {"a": [1]}, {"a": (1,)}]
    assert len({written(state, tmp_path / "x") for state in states}) == len(states)


def test_a_modules_state_comes_back_with_its_metadata(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(2))
    save_state({"net": net.state_dict()}, tmp_path / "x")
    read = torch.load(tmp_path / "x", weights_only=True)["net"]
    assert isinstance(read, OrderedDict) and read._metadata == net.state_dict()._metadata
    for name, value in net.state_dict().items():
        assert torch.equal(read[name], value) and read[name].stride() == value.stride()


def test_numbers_and_texts_keep_their_types(tmp_path: Path) -> None:
    state = {"i": 1, "f": 0.5, "n": None, "b": True, "t": "größe", "l": [1, ("x", 2.0)], 3: {"e": ()}}
    save_state(state, tmp_path / "x")
    assert torch.load(tmp_path / "x", weights_only=True) == state
