"""Names of the folders of classes."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from augpipe.report.class_folders import folder_names
from augpipe.report.out import BALANCED_FILES


@given(st.lists(st.text(st.sampled_from("aA/_.1 2é\n𐎠"), max_size=90), max_size=6, unique=True))
@example(["𐎠" * 90])
@example(["a" * 79 + " b", "a" * 79 + " c"])
@settings(deadline=None, max_examples=300, derandomize=True, database=None)
def test_folders_of_classes_are_names_of_their_own(names: list[str]) -> None:
    found = folder_names(names, BALANCED_FILES)
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert re.fullmatch(r"[\w+-]([\w .+-]*[\w+-])?", name), name
        assert len(name.encode()) <= 255


@pytest.mark.parametrize("names", [("x_2", "X", "x"), ("a_b_2", "a/b", "a_b"), ("card.md_1", "card.md")])
def test_a_name_given_to_a_folder_is_not_another_class_s_own(names: tuple[str, ...]) -> None:
    assert len({name.casefold() for name in folder_names(names, BALANCED_FILES)}) == len(names)


def test_no_folder_has_the_name_of_a_file_even_where_case_does_not_count() -> None:
    names = [*BALANCED_FILES, *(name.upper() for name in BALANCED_FILES)]
    files = {name.casefold() for name in BALANCED_FILES}
    assert not files & {name.casefold() for name in folder_names(names, BALANCED_FILES)}
