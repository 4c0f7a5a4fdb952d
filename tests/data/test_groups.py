"""Groups in one spelling, whatever the source: images of one patient are one group, those without are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pictures import noise, save, source
from shards import described, hugging_face, shard

from augpipe.data import sources

N = 6


def arrays(folder: Path, groups: NDArray[Any]) -> sources.Listing:
    path = folder / "a.npz"
    np.savez(path, images=noise(0, N, 8, 8), labels=np.arange(N) % 2, groups=groups)
    return sources.listing(source("arrays", path=path))


def table(folder: Path, groups: NDArray[Any]) -> sources.Listing:
    for i in range(N):
        save(folder / f"{i}.png", noise(i))
    paths, path = [f"{i}.png" for i in range(N)], folder / "m.csv"
    frame = pd.DataFrame({"path": paths, "label": np.arange(N) % 2, "group": groups})
    frame.to_csv(path, index=False, na_rep="nan")
    return sources.listing(source("manifest", path=path))


def parquet(folder: Path, groups: NDArray[Any]) -> sources.Listing:
    path = hugging_face(folder / "a.parquet", [0, 1, 2] * 2, patient=groups)
    return sources.listing(source("huggingface", path=path, group="patient"))


def web(folder: Path, groups: NDArray[Any]) -> sources.Listing:
    rows = [{"label": i % 2, "patient": group} for i, group in enumerate(groups.tolist())]
    path = shard(folder / "a.tar", described(*rows))
    return sources.listing(source("webdataset", path=path, label="label", group="patient"))


@pytest.mark.parametrize("read", [arrays, table, parquet, web])
@pytest.mark.parametrize(
    "groups",
    [np.array([3, 3, np.nan, np.nan, 4, 4]), np.array(["3", "3.0", "nan", "None", "4 ", " 4"])],
    ids=["numbers", "text"],
)
def test_groups_have_one_spelling_and_missing_ones_are_none(tmp_path: Path, read: Any, groups: NDArray[Any]) -> None:
    listing = read(tmp_path, groups)
    assert listing.groups.tolist() == ["3", "3", *listing.ids[2:4], "4", "4"]
    assert any(note.startswith(("2 images", "2 rows")) for note in listing.notes)


def test_a_patient_as_a_whole_number_here_and_as_a_float_there(tmp_path: Path) -> None:
    """As pandas writes a column of one split that has a gap."""
    n = np.arange(N) // 2
    splits = {
        f"{split}_{name}": values
        for split, groups in (("train", n), ("test", n.astype(float)))
        for name, values in (("images", noise(0, N, 8, 8)), ("labels", n), ("groups", groups))
    }
    np.savez(tmp_path / "a.npz", **splits)
    listing = sources.listing(source("arrays", path=tmp_path / "a.npz"))
    assert listing.groups.tolist() == [*"001122"] * 2
