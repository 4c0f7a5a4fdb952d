"""A column for each class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, labelled_table, listed
from pictures import source

from augpipe.core.errors import UserError


@pytest.mark.parametrize(
    ("uncertain", "counts"), [("drop", {"x": 3, "y": 2}), (0, {"x": 5, "y": 2}), (1, {"x": 3, "y": 3})]
)
def test_uncertain_one_hot_labels(tmp_path: Path, uncertain: object, counts: dict[str, int]) -> None:
    """CheXpert's -1: the message gives the setting, and then that for several labels."""
    x, y = [1, 1, 1, "1.0", "", 0, 1, 0], [0, "", 0, "-1.0", 1, 1, -1, -1]
    path = labelled_table(tmp_path, ["-"] * 8, x=x, y=y)
    one_hot = {"columns": {"label": ["x", "y"]}, "ignore": ["label"]}
    with pytest.raises(UserError, match=r"row 4 .*source\.uncertain=drop.*=0.*=1"):
        listed(path, combined="drop", **one_hot)
    if uncertain == 1:
        with pytest.raises(UserError, match=r"row 4 .*source\.combined=drop"):
            listed(path, uncertain=1, **one_hot)
    options = {"uncertain": uncertain, "combined": "drop", **one_hot}
    if uncertain == 0:  # the last row has no 1 then
        with pytest.raises(UserError, match=r"1 row of 8 of .* without a 1 in .* x, y, .* row 8: set"):
            listed(path, **options)
        assert listed(path, unmarked="none", **options).counts() == counts | {"none": 1}
        options["unmarked"] = "drop"
    listing = listed(path, **options)
    assert listing.counts() == counts and not listing.bad
    without = "1 row without a 1 in the one-hot columns left out"
    assert (without in listing.notes) == (uncertain == 0)


def test_empty_rows_of_one_hot_columns_are_left_out_where_rows_without_a_1_are(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["-"] * 4, x=[1, 0, "", 0], y=[0, 1, "", 0])
    one_hot = {"columns": {"label": ["x", "y"]}, "ignore": ["label"]}
    assert [bad.reason for bad in listed(path, unmarked="none", **one_hot).bad] == ["row 3: no label"]
    listing = listed(path, unmarked="drop", **one_hot)
    assert not listing.bad and "2 rows without a 1 in the one-hot columns left out" in listing.notes


def test_options_of_one_hot_columns_without_effect(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["-"] * 3, x=[1, 0, ""], y=[0, 1, ""])
    for name, value in (("uncertain", 0), ("unmarked", "drop")):
        with pytest.raises(ValueError, match=f"{name}: {value} has no effect with one column of"):
            source("manifest", path=path, **{name: value})
    columns = {"label": ["x", "y"]}
    with pytest.raises(ValueError, match="unmarked: x is one of the one-hot columns"):
        source("manifest", path=path, columns=columns, unmarked="x")
    listing = listed(path, columns=columns, ignore=["label"])
    assert [one.reason for one in listing.bad] == ["row 3: no label"]
    path = labelled_table(tmp_path, ["-"] * 2, x=[1, 0], y=[0, 1], z=[0, 0])
    listing = listed(path, columns={"label": ["x", "y", "z"]}, ignore=["label"])
    assert "no row with a picture has the label z" in listing.notes


@pytest.mark.parametrize(("one", "zero"), [("x", ""), ("X", ""), ("yes", "no"), ("Y", "N"), ("\u2713", "-")])
def test_ticked_boxes_are_one_hot_columns(tmp_path: Path, one: str, zero: str) -> None:
    """As forms and spreadsheets have them: proposed, read, and a row without a tick is one without a 1."""
    marks = {name: [one if i % 3 == n else zero for i in range(12)] for n, name in enumerate(("cat", "cow", "dog"))}
    constant = {"sex": "F", "seen": one}  # no classes
    table = pd.DataFrame({"path": images(tmp_path, 12), **marks, **constant})
    table.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"try --set 'source\.columns\.label=\[cat, cow, dog\]'"):
        listed(tmp_path / "m.csv")
    columns = {"label": ["cat", "cow", "dog"]}
    assert listed(tmp_path / "m.csv", columns=columns).counts() == {"cat": 4, "cow": 4, "dog": 4}
    marks["dog"][2] = zero
    pd.DataFrame({"path": images(tmp_path, 12), **marks}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"1 row of 12 .* without a 1 .* is row 3: set source\.unmarked=drop"):
        listed(tmp_path / "m.csv", columns=columns)
