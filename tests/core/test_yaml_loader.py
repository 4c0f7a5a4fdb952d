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


def test_names_that_look_like_numbers_or_dates_are_text() -> None:
    """As labels in folders and tables are: a class 1_0 is not the class 10."""
    text = "[1_0, 01, 0x1F, 1:30, 2020-01-01, 1e2, inf]"
    assert read_yaml(text, "it") == ["1_0", "01", "0x1F", "1:30", "2020-01-01", "1e2", "inf"]
    numbers = read_yaml("[10, -3, +4, 0, 1.5, 1., .5, 1.0e3, -.inf, ~]", "it")
    assert numbers == [10, -3, 4, 0, 1.5, 1.0, 0.5, 1000.0, float("-inf"), None]
    keys = read_yaml("{1_0: 1, 01: 2, 1: 3, 1.0: 4, null: 5, true: 6}", "it")
    assert keys == {"1_0": 1, "01": 2, "1": 3, "1.0": 4, "null": 5, "true": 6}


def test_a_key_that_occurs_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"it: duplicate key 'a' \(line 2\)"):
        read_yaml("a: 1\na: 2", "it")


def test_a_short_text_that_expands_to_billions() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"it has [\d,]+ values after its aliases, at most 100,000"):
        read_yaml("\n".join(lines), "the config")
    assert time.monotonic() - begun < 1
    assert read_yaml("a: &a [1]\nb: *a\nc: {<<: {d: 2}}", "it") == {"a": [1], "b": [1], "c": {"d": 2}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("!!int abc", "'abc' as int"),
        ("!!bool maybe", "'maybe' as bool"),
        ("!!float x", "'x' as float"),
        ("!!timestamp x", "'x' as timestamp"),
        ("!!timestamp 2020-13-01", "'2020-13-01' as timestamp"),
        ("!!int ''", "'' as int"),
        ("7" * 5000, f"'{'7' * 40}'... (5,000 characters) as int"),
    ],
)
def test_a_value_that_is_not_of_its_tag(value: str, shown: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(f"a:\n  - {value}", "it")
    assert str(caught.value) == f"it: cannot read {shown} (line 2)"


def test_an_equals_sign_is_text() -> None:
    assert read_yaml("a: =", "it") == {"a": "="}
