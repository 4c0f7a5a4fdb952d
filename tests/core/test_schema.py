from __future__ import annotations

import pytest
from pydantic import ValidationError

from augpipe.core.schema import Strict, explain


class Inner(Strict):
    size: int


class Outer(Strict):
    inner: Inner
    word: str = "x"


def test_explain_names_place_and_value_on_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": "big"}})
    line = explain(caught.value)
    assert line.startswith("inner.size: ") and line.endswith("(got 'big')") and "\n" not in line


def test_unknown_keys_are_refused_at_every_depth() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": 1, "sise": 2}})
    assert "inner: unknown key 'sise' (did you mean 'size'?); choose from size" in explain(caught.value)
