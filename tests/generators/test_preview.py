"""Options of families without torch: the same as those of the family's file."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from augpipe.core.errors import UserError
from augpipe.core.registry import load_kind
from augpipe.generators import families, preview
from augpipe.generators.options import FAMILIES

LISTS = ("augment", "classic")  # of operations, which are known to code that imports torch


@pytest.mark.parametrize("kind", families.names())
def test_a_preview_has_the_options_of_the_family(kind: str) -> None:
    known, real = preview.preview(kind), load_kind(FAMILIES, kind, "generator").Config
    assert known is not None and known.config is not real
    assert known.config(kind=kind).model_dump() == real(kind=kind).model_dump()
    for name, field in real.model_fields.items():
        assert known.config.model_fields[name].metadata == field.metadata or name in LISTS, name
    for values in ({"batch": 1}, {"kimg": "x"}, {"nothing": 1}, {"per_class": "maybe"}):
        messages = []
        for config in (known.config, real):
            with pytest.raises((ValidationError, UserError)) as caught:
                config.model_validate({"kind": kind, **values})
            messages.append(str(caught.value).partition("\n")[2] or str(caught.value))
        assert messages[0] == messages[1]


def test_sizes_that_a_family_does_not_draw() -> None:
    config = load_kind(FAMILIES, "cgan", "generator").Config(kind="cgan")
    preview.check_size(config, 48, 3)
    with pytest.raises(UserError, match="image size 36 is not 4, 5, 6 or 7 doubled"):
        preview.check_size(config, 36, None)
    preview.check_size(load_kind(FAMILIES, "smote", "generator").Config(kind="smote"), 36, 1)
