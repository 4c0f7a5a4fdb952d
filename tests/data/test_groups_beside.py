"""Groups and splits in another table beside."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, labelled_table, listed, load_source

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_groups_in_a_table_beside_are_not_passed_over(tmp_path: Path) -> None:
    """As ISIC's lesions; the other table names the pictures without folder and suffix."""
    paths = images(tmp_path, 12)
    frame = pd.DataFrame({"path": paths, "label": ["x", "y"] * 6})
    frame.to_csv(tmp_path / "m.csv", index=False)
    beside = pd.DataFrame({"image": [Path(path).stem for path in paths], "age": 50})
    beside["lesion_id"] = [f"L{i // 2}" for i in range(12)]
    beside.to_csv(tmp_path / "a.csv", index=False)
    message = r"a\.csv has the column 'lesion_id' of these pictures, .*source\.ignore=\[lesion_id\]"
    with pytest.raises(UserError, match=message):
        listed(tmp_path / "m.csv")
    assert listed(tmp_path / "m.csv", ignore=["lesion_id"]).groups is None
    sets = [f"source.join={tmp_path / 'a.csv'}", "source.columns.group=lesion_id"]
    with pytest.raises(UserError, match=re.escape(" ".join(f"--set {one}" for one in sets))):
        listed(tmp_path / "m.csv")
    joined = sources.listing(load_source(tmp_path / "m.csv", sets))
    assert joined.groups.tolist() == [f"L{i // 2}" for i in range(12)]
    beside.assign(image=[f"other{i}" for i in range(12)]).to_csv(tmp_path / "a.csv", index=False)
    assert listed(tmp_path / "m.csv").groups is None
    frame.assign(group=beside["lesion_id"]).to_csv(tmp_path / "m.csv", index=False)
    beside.to_csv(tmp_path / "a.csv", index=False)
    assert len(set(listed(tmp_path / "m.csv").groups)) == 6


@pytest.mark.parametrize("name", ["list_eval_partition.txt", "list_eval_partition.csv"])
def test_a_split_in_a_table_beside_is_noted(tmp_path: Path, name: str) -> None:
    """As CelebA's, in numbers: the note has the options that use it."""
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    lines = [f"img/{i}.png {(0, 1, 2)[i % 3]}" for i in range(12)]
    text = "\n".join(lines) if name.endswith("txt") else "image_id,partition\n" + "\n".join(lines).replace(" ", ",")
    (tmp_path / name).write_text(text + "\n")
    (note,) = listed(path).notes
    sets = [word for word in shlex.split(note) if word.startswith("source.")]
    assert sources.listing(load_source(path, sets)).splits.tolist() == ["train", "val", "test"] * 4
