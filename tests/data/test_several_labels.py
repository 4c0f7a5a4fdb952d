"""Several labels of one picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labelled_tables import images, labelled_table, listed

from augpipe.core.errors import UserError


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["A", "B", "A|B", "B|C", "A"], {"A|B", "B|C"}),
        (["A", "B", "A;B", "B; A", "A"], {"A|B"}),
        (["A", "B", "A, B", "C,A", "D,E"], {"A|B", "A|C", "D,E"}),
    ],
)
def test_several_labels_in_a_cell(tmp_path: Path, labels: list[str], joined: set[str]) -> None:
    path = labelled_table(tmp_path, labels)
    with pytest.raises(UserError) as caught:
        listed(path)
    assert (
        f"has several labels in one cell of the column 'label' in 2 rows of 5, such as {labels[2]!r}: "
        "set source.combined=drop" in str(caught.value)
    )
    single = listed(path, combined="drop")
    assert not set(single.classes) & set(labels[2:4]) and len(single) == 3 and not single.bad
    assert "2 rows with several labels left out" in single.notes
    assert set(listed(path, combined="class").classes) == {"A", "B"} | joined
    assert listed(path, classes=["A", "B"]).classes == ("A", "B")


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["cat", "dog", "cat dog", "emu", "fat cat"], {"cat", "dog", "emu", "fat cat", "cat|dog"}),
        (["16 0", "3", "3 16"], {"3", "0|16", "16|3"}),
    ],
)
def test_several_labels_between_spaces(tmp_path: Path, labels: list[str], joined: set[str]) -> None:
    """As Kaggle's sets have them; a space is also in the name of one class."""
    path = labelled_table(tmp_path, labels)
    with pytest.raises(UserError, match=r"several labels in one cell .* set source\.combined=drop"):
        listed(path)
    assert set(listed(path, combined="class").classes) == joined
    birds = ["american crow", "fish crow", "american black duck", "american duck", "black tern"]
    assert set(listed(labelled_table(tmp_path, birds)).classes) == set(birds)


@pytest.mark.parametrize("labels", [("A|B", "B|A", "A | B"), ("A;B", "B;A", "B ; A")])
def test_a_combination_is_one_class_in_any_order(tmp_path: Path, labels: tuple[str, ...]) -> None:
    path = labelled_table(tmp_path, ["A", *labels, "B"])
    assert listed(path, combined="class").counts() == {"A": 1, "A|B": 3, "B": 1}


def test_labels_that_occur_only_together(tmp_path: Path) -> None:
    """No label has a row of its own; each is in two combinations, in other places."""
    path = labelled_table(tmp_path, ["A;B", "A;C", "B;C", "normal"])
    with pytest.raises(UserError, match=r"in 3 rows of 4, such as 'A;B': set source\.combined"):
        listed(path)
    path = labelled_table(tmp_path, ["A", "C", "A;B", "B;C"])
    with pytest.raises(UserError, match=r"in 2 rows of 4, such as 'A;B': set source\.combined"):
        listed(path)
    names = ["left, lung", "left, heart", "right, lung", "right, heart"]  # one class each
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)
    synonyms = ["polecat, fitch", "skunk, polecat", "cougar, puma, catamount", "lynx, catamount"]
    assert set(listed(labelled_table(tmp_path, synonyms)).classes) == set(synonyms)


def test_labels_that_are_lists(tmp_path: Path) -> None:
    labels = ["bird", ["cat"], ["dog", "cat"], ["cat", "dog"], []]
    path = tmp_path / "m.jsonl"
    rows = [{"path": p, "label": c} for p, c in zip(images(tmp_path, 5), labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"in 2 rows of 5, such as '\[\"dog\", \"cat\"\]': set"):
        listed(path)
    assert listed(path, combined="drop").counts() == {"bird": 1, "cat": 1}
    listing = listed(path, combined="class")
    assert listing.counts() == {"bird": 1, "cat": 1, "cat|dog": 2}
    assert [bad.reason for bad in listing.bad] == ["row 5: no label"]
    text = labelled_table(tmp_path, ["['a', 'b']", "b", "['c']", "[other]"])  # as Python writes lists
    assert listed(text, combined="class").classes == ("[other]", "a|b", "b", "c")


def test_a_separator_in_a_name_is_no_second_label(tmp_path: Path) -> None:
    names = ["normal, benign", "malignant", "a;b", "x|y"]
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)
