"""Pictures in several rows of a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from labelled_tables import images, listed


def test_annotators_who_disagree_are_counted(tmp_path: Path) -> None:
    """Each picture twice: with one label it is one image, with two it is none, and the note says what to do."""
    paths = images(tmp_path, 12)
    first, second = ["a", "b"] * 6, ["b", "b"] + ["a", "b"] * 5
    rows = {"path": paths * 2, "label": first + second, "annotator": ["u"] * 12 + ["v"] * 12}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv")
    assert len(listing) == 11 and len(listing.bad) == 2
    _, disagree, repeated = listing.notes
    assert disagree.startswith("1 picture of 12 not used, as rows have different labels: img/0.png has a, b; write one")
    assert repeated.startswith("11 rows repeated")
