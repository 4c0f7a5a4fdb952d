"""Lists of the pictures of a split."""

from __future__ import annotations

from pathlib import Path

from labelled_tables import labelled_table, listed


def test_lists_of_a_split_beside_a_table_are_noted(tmp_path: Path) -> None:
    """As NIH's."""
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    (tmp_path / "train_val_list.txt").write_text("\n".join(f"{i}.png" for i in range(8)))
    (tmp_path / "test_list.txt").write_text("\n".join(f"{i}.png" for i in range(8, 12)))
    (note,) = listed(path).notes
    assert "test_list.txt" in note and "train_val_list.txt" in note and "are not used" in note
