"""Paths of a table against its roots."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from augpipe.data.sources._paths import unique_ids


def test_roots_of_one_name_and_paths_like_a_root(tmp_path: Path) -> None:
    roots = [tmp_path / "one" / "img", tmp_path / "two" / "img"]
    paths = np.array(["0.png", "0.png", "1.png"], object)
    assert unique_ids(paths, np.array([0, 1, 1]), roots) == ["one/img/0.png", "two/img/0.png", "1.png"]
    paths = np.array(["0.png", "0.png", "one/img/0.png"], object)
    assert unique_ids(paths, np.array([0, 1, 1]), roots) == ["one/img/0.png", "two/img/0.png", "two/img/one/img/0.png"]
