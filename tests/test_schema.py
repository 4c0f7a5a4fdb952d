from __future__ import annotations

import pytest
from pydantic import ValidationError

from augpipe.errors import UserError, unknown
from augpipe.kinds import Registry, kinds_in, load_kind
from augpipe.schema import Strict, explain


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
    assert "inner: unknown key 'sise' (did you mean 'size'?); have size" in explain(caught.value)


def test_kinds_are_the_files_of_a_package() -> None:
    assert kinds_in("augpipe.generators") == ("acgan", "smote")
    with pytest.raises(UserError, match=r"unknown generator '\.\./evil'; have acgan, smote"):
        load_kind("augpipe.generators", "../evil", "generator")
    with pytest.raises(UserError, match="unknown source '_pictures'"):
        load_kind("augpipe.sources", "_pictures", "source")


def test_registry() -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("one")(1)
    assert list(registry) == ["one"] and registry["one"] == 1
    with pytest.raises(ValueError, match="twice"):
        registry.register("one")(2)
    with pytest.raises(UserError, match=r"unknown thing 'on' \(did you mean 'one'\?\); have one"):
        registry["on"]


def test_unknown_with_nothing_to_choose() -> None:
    assert str(unknown("x", "y", [])) == "unknown x 'y'; have none"
