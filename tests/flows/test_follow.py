"""What a run says of a search as it ends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from augpipe.classifiers.plans import Share
from augpipe.core.store import Store
from augpipe.pipeline.records import Choice, Timed
from flows.follow import describe_choice


@pytest.mark.parametrize(
    ("tried", "share", "part", "told"),
    [
        ([("0.1", 1.0), ("0.2", 1.0)], 0.1, 1.0, "share 0.1"),
        ([("fill", 0.5), ("fill", 1.0)], "fill", 1.0, "100% of the images"),
        ([("0.1", 0.5), ("0.2", 1.0)], 0.2, 0.5, "share 0.2, 50% of the images"),
        ([("0.1", 1.0), ('{"a": 0.2}', 1.0)], {"a": 0.2}, 1.0, "a share for each class"),
        ([], 0.05, 1.0, "nothing to choose from"),
    ],
)
def test_only_what_was_searched_is_told(
    tmp_path: Path, tried: list[tuple[str, float]], share: Share, part: float, told: str
) -> None:
    table = Store(tmp_path).put_table("searches", pd.DataFrame(tried, columns=["share", "part"]))
    found = Choice(share=share, part=part, steps=1, table=table, time=Timed(began=0.0, seconds=1.0))
    assert describe_choice(found) == told
