"""Classes and groups of a listing, before pictures are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import came, noise, save

from augpipe.core.errors import UserError
from augpipe.data.clean import part
from augpipe.data.intake import Intake
from augpipe.data.listing_check import check_names, divided_groups
from augpipe.data.options import Policy, SplitOptions


def torn(folder: Path) -> Intake:
    """Groups of six images, of which an official split divides two."""
    for i in range(30):
        save(folder / "img" / f"{i}.png", noise(i))
    table = pd.DataFrame(
        {
            "path": [f"img/{i}.png" for i in range(30)],
            "label": ["a", "b"] * 15,
            "group": [f"p{i // 6}" for i in range(30)],
            "split": ["train"] * 16 + ["val"] * 6 + ["test"] * 8,
        }
    )
    table.to_csv(folder / "m.csv", index=False)
    return came("manifest", folder, path=folder / "m.csv")


def test_groups_on_several_sides_stop_a_run_without_a_reason(tmp_path: Path) -> None:
    taken, rng = torn(tmp_path), np.random.default_rng(0)
    with pytest.raises(UserError, match=r"^2 groups divided between .* split.allow_torn_groups$"):
        part(taken, SplitOptions(), Policy(), rng)
    with pytest.raises(UserError, match="groups divided"):
        part(taken, SplitOptions(kind="stratified", allow_torn_groups=" "), Policy(), rng)
    allowed = SplitOptions(allow_torn_groups="the benchmark's own split")
    found = part(taken, allowed, Policy(), rng)
    assert found.kind == "official" and divided_groups(taken.groups, found.rows) == found.torn == 2
    note = "2 groups divided between train, val and test, allowed because: the benchmark's own split"
    assert note in found.notes


@pytest.mark.parametrize("names", [("Cat", "cat"), ("cat", "cat "), ("größe", "gro\u0308ße"), ("ﬁn", "fin")])
def test_class_names_that_hardly_differ(names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="differ only in case, spaces or spelling"):
        check_names(("dog", *names))
