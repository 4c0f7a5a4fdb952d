"""Labels in a file beside a val or test whose pictures are in no folder of a class, as Tiny-ImageNet's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from augpipe.core.errors import UserError, several
from augpipe.data.sources._listing import Listing
from augpipe.data.sources._place import Beside
from augpipe.data.sources._split_lists import lists_pictures, names_of
from augpipe.data.sources._top_folders import exclude, folder_pattern
from augpipe.data.sources._unlabelled import unlabelled_splits

SUFFIXES: Final = (".txt", ".csv", ".tsv", ".tab", ".lst")
LOOKED_AT: Final = 50  # lines


def check_labels_of_splits(at: Beside, files: Sequence[Path], images: Listing) -> None:
    """UserError if a file has labels of the pictures of a val or test that would be left out as one without labels."""
    names = np.array(images.classes, object)[images.labels]
    aside = unlabelled_splits(names, images.splits)
    for split in ("val", "test") if images.splits is not None and aside.any() else ():
        ids = [images.ids[row] for row in np.flatnonzero(aside & (images.splits == split)).tolist()]
        known = names_of(ids)
        texts = [path for path in files if path.suffix.lower() in SUFFIXES and "submission" not in path.stem.lower()]
        for path in texts if ids else ():
            if lists_pictures(path, known) and _has_labels(path):
                folder = exclude([folder_pattern(ids[0].split("/")[0])])
                raise UserError(
                    f"{at.place(path)} may have labels of {several(len(ids), 'picture')} of {split}, which are in no "
                    "folder of a class: write a table of all pictures with the columns path, label and split, or leave "
                    f"these out with {folder}, so that {split} is drawn from the others"
                )


def _has_labels(path: Path) -> bool:
    """Whether the first lines of a file have a second value, which is not the same in all."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        rows = [re.split(r"[,;\t ]+", line.strip()) for line in islice(stream, LOOKED_AT) if line.strip()]
    return len({row[1] for row in rows[1:] if len(row) > 1}) > 1
