"""YAML as configurations use it: names stay text, and nothing small becomes huge."""

from __future__ import annotations

import time

import pytest

from augpipe.core.errors import UserError
from augpipe.core.yaml_loader import read_yaml


def test_only_true_and_false_are_booleans() -> None:
    text = "{yes: no, on: off, y: n, a: true, b: False}"
    expected = {"yes": "no", "on": "off", "y": "n", "a": True, "b": False}
    assert read_yaml(text, "it") == expected


def test_a_key_that_occurs_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"it: duplicate key 'a' \(line 2\)"):
        read_yaml("a: 1\na: 2", "it")


def test_a_short_text_that_expands_to_billions() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"it has [\d,]+ values after its aliases, at most 100,000"):
        read_yaml("\n".join(lines), "the config")
    assert time.monotonic() - begun < 1
    assert read_yaml("a: &a [1]\nb: *a\nc: {<<: {d: 2}}", "it") == {
        "a": [1],
        "b": [1],
        "c": {"d": 2},
    }
