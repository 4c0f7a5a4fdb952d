"""Groups in the paths of pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import labelled_table, listed
from pictures import noise, save, source

from augpipe.core.errors import UserError


def test_patients_in_the_paths_of_a_table(tmp_path: Path) -> None:
    """As in CheXpert's and MIMIC-CXR's: no column has them."""
    paths = [f"train/patient{i // 2:05d}/study{i % 2}/1.png" for i in range(12)]
    for i, path in enumerate(paths):
        save(tmp_path / path, noise(i))
    pd.DataFrame({"path": paths, "label": ["a", "b"] * 6}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"'patient00000', which look like groups.*group_folder=2, "):
        listed(tmp_path / "m.csv")
    groups = listed(tmp_path / "m.csv", group_folder=2).groups
    assert groups.tolist() == [f"patient{i // 2:05d}" for i in range(12)]
    assert listed(tmp_path / "m.csv", group_folder=0).groups is None
    with pytest.raises(ValueError, match=r"group_folder and columns\.group are mutually exclusive"):
        source("manifest", path="m.csv", group_folder=2, columns={"group": "who"})


def test_a_folder_of_groups_that_no_path_has(tmp_path: Path) -> None:
    labelled_table(tmp_path, ["a", "b"] * 6)
    with pytest.raises(UserError, match=r"source\.group_folder is 2, and no path .*'img/0\.png', which has 1"):
        listed(tmp_path / "m.csv", group_folder=2)
