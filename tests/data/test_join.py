"""Columns of joined tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, labelled_table, listed

from augpipe.core.errors import UserError


def test_identities_that_are_mostly_of_one_picture_can_be_joined(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"img/{i}.png {max(i, 2)}\n" for i in range(12)))
    with pytest.raises(UserError, match="'identity_CelebA' of these pictures, which looks like groups"):
        listed(path)
    joined = listed(path, join=[tmp_path / "identity_CelebA.txt"], columns={"group": "identity_CelebA"})
    assert len(set(joined.groups)) == 10


def test_columns_of_joined_tables(tmp_path: Path) -> None:
    """By path or name; rows in another order; names that both tables have;
    CelebA's list of identities without column names.
    """
    paths = images(tmp_path, 12)
    frame = pd.DataFrame({"path": paths, "label": ["x", "y"] * 6, "age": 1})
    frame.to_csv(tmp_path / "m.csv", index=False)
    order = list(reversed(range(12)))
    split = ["train", "val", "test"] * 4
    other = pd.DataFrame({"name": [f"{i}.PNG" for i in range(12)], "split": split, "age": range(12)})
    other.iloc[order].to_parquet(tmp_path / "s.parquet")
    lines = [f"{i}.png {100 + i // 3}" for i in order[:-1]]
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match="the column 'identity_CelebA' of these pictures, which looks"):
        listed(tmp_path / "m.csv")
    join = [tmp_path / "s.parquet", tmp_path / "identity_CelebA.txt"]
    images_ = listed(tmp_path / "m.csv", join=join, columns={"group": "identity_CelebA"})
    assert images_.splits.tolist() == split
    assert images_.groups.tolist() == ["img/0.png", *(str(100 + i // 3) for i in range(1, 12))]
    assert f"1 row without one in the joined table {join[1]}" in images_.notes
    assert any(note.endswith("m.csv: age, s.age") for note in images_.notes)
    pd.concat([other, other.assign(age=0)]).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(UserError, match=r"s\.parquet in source\.join has '1\.PNG' twice"):
        listed(tmp_path / "m.csv", join=join)
    other[["split"]].to_csv(tmp_path / "o.csv", index=False)
    for name, message in (("o.csv", "o.csv in source.join names most"), ("no.csv", "does not exist")):
        with pytest.raises(UserError, match=message):
            listed(tmp_path / "m.csv", join=tmp_path / name)
