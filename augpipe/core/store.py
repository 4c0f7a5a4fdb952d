"""Content-addressed store of image sets, checkpoints and tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.core import image_folders
from augpipe.core.errors import RunError
from augpipe.core.files import digest, draft_of, rename
from augpipe.core.home import home
from augpipe.core.images import ImageSet, Splits
from augpipe.core.refs import NAME, Ref, Rows, SplitRefs, is_stored, rows_of
from augpipe.core.states import save_state

BLOCK: Final = 2**24  # bytes copied at a time, which limits memory use


class Store:
    """Content-addressed files: `root/<kind>/<first 20 hex digits of the SHA-256><suffix>`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = home() / "store" if root is None else root

    def put(self, kind: str, write: Callable[[Path], None], suffix: str = "", prefix: str = "") -> Ref:
        """Let `write` create a file or folder, and rename it to a path derived from its hash.

        It is on the disk before it has its name. Damaged content of that name is moved away.
        """
        with draft_of(self.root / kind / "new") as draft:
            write(draft)
            sha = digest(draft)
            final = self.root / kind / f"{prefix}{sha[:NAME]}{suffix}"
            if not is_stored(final, sha):
                try:
                    rename(draft, final)
                except OSError:
                    # Unless another process stored the same content meanwhile.
                    if not is_stored(final, sha):
                        raise
        return Ref(path=final, sha256=sha)

    def put_images(self, images: ImageSet, rows: NDArray[np.int64] | None = None) -> Ref:
        """Store an image set, or its `rows`; at most BLOCK bytes of images are in memory."""
        return self.put_joined([images], np.arange(len(images)) if rows is None else rows)

    def put_joined(self, parts: Sequence[ImageSet], rows: NDArray[np.int64]) -> Ref:
        """Store `rows` of several sets of the same classes, counted through one after another, as one set."""
        first = np.cumsum([0, *(len(part) for part in parts)])
        part_of = np.searchsorted(first, rows, side="right") - 1
        step = max(1, BLOCK // int(np.prod(parts[0].spec.shape)))
        labels = np.concatenate([part.labels for part in parts])[rows]
        table = pd.concat([part.table for part in parts], ignore_index=True)

        def write(folder: Path) -> None:
            with image_folders.image_writer(folder, len(rows), parts[0].spec) as out:
                for start in range(0, len(rows), step):
                    block = np.arange(start, min(start + step, len(rows)))
                    for at in np.unique(part_of[block]):
                        places = block[part_of[block] == at]
                        out[places] = parts[at].images[rows[places] - first[at]]
            table_of_rows = table.iloc[rows].reset_index(drop=True)
            image_folders.write_labels(folder, labels, parts[0].classes, table_of_rows)

        return self.put("images", write)

    def put_rows(self, of: Ref, start: int, stop: int, table: pd.DataFrame | None = None) -> Ref:
        """Store rows `start` to `stop` of a stored set as a further set, without a copy of the images.

        table: their provenance, if it differs.
        """
        images = load_images(of)
        inner = rows_of(of.path)
        rows = Rows(of.sha256, start, stop) if inner is None else inner.within(start, stop)
        if table is None:
            table = images.table.iloc[start:stop]
        table, labels = table.reset_index(drop=True), images.labels[start:stop]

        def write(folder: Path) -> None:
            image_folders.write_rows(folder, rows, labels, images.classes, table)

        return self.put("images", write)

    def put_labels(self, of: Ref, labelled: ImageSet) -> Ref:
        """Store the images of a stored set with other labels and classes, without a copy of the images."""
        rows = rows_of(of.path) or Rows(of.sha256, 0, len(labelled))

        def write(folder: Path) -> None:
            image_folders.write_rows(folder, rows, labelled.labels, labelled.classes, labelled.table)

        return self.put("images", write)

    def adopt(self, kind: str, written: Path) -> Ref:
        """Store a finished file or folder of `scratch`, which is moved."""

        def move(path: Path) -> None:
            shutil.move(written, path)

        return self.put(kind, move)

    def find(self, kind: str, sha256: str, suffix: str = "") -> Path | None:
        """The path of stored content by its SHA-256; None if the store does not hold it."""
        path = self.root / kind / f"{sha256[:NAME]}{suffix}"
        return path if is_stored(path, sha256) else None

    def images(self, sha256: str) -> ImageSet | None:
        """The image set with this SHA-256, memory-mapped; None if the store does not hold it."""
        path = self.find("images", sha256)
        return None if path is None else load_images(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A path for a folder that is deleted when the block ends."""
        with draft_of(self.root / "scratch" / "new") as draft:
            yield draft

    def put_table(self, kind: str, table: pd.DataFrame) -> Ref:
        """Store a table as Parquet: floats keep full precision and text stays text."""
        return self.put(kind, lambda path: table.to_parquet(path, index=False), ".parquet")

    def put_state(self, kind: str, state: Mapping[str, Any]) -> Ref:
        """Store tensors and plain values, readable with `weights_only=True`."""
        return self.put(kind, _writer(state), ".pt")

    def keyed(self, kind: str, key: str, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Result of `make`, cached under a key that identifies everything it depends on."""
        for path in (self.root / kind).glob(f"{key}-*.pt"):
            if is_stored(path, path.stem.rpartition("-")[2]):
                return load_state(path)
        state = make()
        self.put(kind, _writer(state), ".pt", f"{key}-")
        return state


def _writer(state: Mapping[str, Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        save_state(state, path)

    return write


def _path_of(ref: Ref | Path) -> Path:
    """The path of stored content; RunError if it was damaged or deleted after the run began."""
    if isinstance(ref, Path):
        return ref
    if not is_stored(ref.path, ref.sha256):
        raise RunError(f"{ref.path} is damaged or missing")
    return ref.path


def load_images(ref: Ref | Path) -> ImageSet:
    """A stored image set, its images memory-mapped."""
    return image_folders.load(_path_of(ref))


def load_splits(refs: SplitRefs) -> Splits:
    """The three sets of a split, memory-mapped."""
    return Splits(load_images(refs.train), load_images(refs.val), load_images(refs.test))


def load_state(ref: Ref | Path) -> dict[str, Any]:
    """A stored checkpoint; it cannot run code (`weights_only=True`)."""
    state: dict[str, Any] = torch.load(_path_of(ref), map_location="cpu", weights_only=True)
    return state


def load_table(ref: Ref) -> pd.DataFrame:
    """A stored table."""
    return pd.read_parquet(_path_of(ref))
