"""Lines above a table: comments, and lists that have no line of column names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import noise, save, source

from augpipe.core.errors import UserError
from augpipe.data import sources

N = 8
COUNTS = {"0": 4, "1": 4}
PATHS = [f"img/{i}.png" for i in range(N)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    for i, path in enumerate(PATHS):
        save(folder / path, noise(i))
    return folder


def write(root: Path, name: str, head: str, delimiter: str = ",", swap: bool = False) -> Path:
    """Rows of path and label (swap: label and path), below a head of any text."""
    rows = [(str(i % 2), path) if swap else (path, str(i % 2)) for i, path in enumerate(PATHS)]
    (root / name).write_text(head + "".join(f"{delimiter.join(row)}\n" for row in rows))
    return root / name


@pytest.mark.parametrize(
    ("name", "head", "delimiter", "note"),
    [
        ("a.csv", "# made by X, 2020\n# y\npath,label\n", ",", "2 comment lines at the head of the table left out"),
        ("b.txt", "# two words\n\npath label\n", " ", "1 comment line at the head of the table left out"),
        ("c.tsv", "#path\tlabel\n", "\t", "the column names of the table are read from its comment line"),
        ("d.csv", "# x\n# path, label\n", ",", "the column names of the table are read from its comment line"),
        ("e.txt", "# my list\n", " ", "the table has no line of column names: its columns are read as path, label"),
    ],
)
def test_comments_above_a_table(root: Path, name: str, head: str, delimiter: str, note: str) -> None:
    config = sources.suggest(write(root, name, head, delimiter))
    listing = sources.listing(source(**config))
    assert listing.counts() == COUNTS and listing.ids == PATHS and not listing.bad
    assert note in listing.notes


def test_a_column_called_by_a_hash_stays_one(root: Path) -> None:
    rows = "".join(f"{i},{path},{i % 2}\n" for i, path in enumerate(PATHS))
    (root / "n.csv").write_text(f"#,path,label\n{rows}")
    assert sources.listing(source("manifest", path=root / "n.csv")).counts() == COUNTS
    (root / "n.csv").write_text("# nothing else\n")
    with pytest.raises(UserError, match=r"the manifest .*n\.csv"):
        sources.listing(source("manifest", path=root / "n.csv"))


@pytest.mark.parametrize(
    ("name", "delimiter", "swap"),
    [("l.txt", " ", False), ("l.csv", ",", False), ("l.tsv", "\t", True), ("m.txt", " ", True)],
)
def test_a_list_of_paths_and_labels(root: Path, name: str, delimiter: str, swap: bool) -> None:
    """As Caffe and ImageNet have them, in either order."""
    listing = sources.listing(source(**sources.suggest(write(root, name, "", delimiter, swap))))
    assert listing.counts() == COUNTS and sorted(listing.ids) == PATHS
    read = "label, path" if swap else "path, label"
    assert f"the table has no line of column names: its columns are read as {read}" in listing.notes


def test_a_list_of_paths_without_suffix(root: Path) -> None:
    rows = "".join(f"{path[:-4]} {i % 2}\n" for i, path in enumerate(PATHS))
    (root / "s.txt").write_text(rows)
    assert sources.listing(source(**sources.suggest(root / "s.txt"))).counts() == COUNTS


@pytest.mark.parametrize(
    "rows",
    [
        [f"{path},{path}" for path in PATHS],
        [f"{path},{i % 2},x" for i, path in enumerate(PATHS)],
        [*(f"{path},{i % 2}" for i, path in enumerate(PATHS)), "other,1"],
    ],
)
def test_a_list_that_may_be_read_in_several_ways_is_refused(root: Path, rows: list[str]) -> None:
    (root / "u.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"has no line of column names, .* write one above it"):
        sources.listing(source("manifest", path=root / "u.csv"))


def test_a_numbered_list_of_pictures_needs_that_of_their_classes(root: Path) -> None:
    (root / "u.csv").write_text("\n".join(f"{i},{path}" for i, path in enumerate(PATHS)))
    with pytest.raises(
        UserError, match=r"no column 'label'; it has id, path .*; join the list of the classes by number"
    ):
        sources.listing(source("manifest", path=root / "u.csv"))
