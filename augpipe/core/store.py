"""Content-addressed store: atomic writes, hashes, memory maps; image sets, checkpoints, tables."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    FieldSerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from augpipe.core.errors import UserError, passes
from augpipe.core.home import home
from augpipe.core.images import ImageSet, ImageSpec, Splits

BLOCK: Final = 2**24  # bytes copied at a time, which limits memory use


class Ref(BaseModel, frozen=True):
    """A file or folder and the SHA-256 of its content: tasks exchange nothing else.

    With a context `{"store": root}` the path is written relative to the store's root, and read back from there.
    """

    path: Path
    sha256: str

    @field_validator("path", mode="after")
    @classmethod
    def _below_the_store(cls, path: Path, info: ValidationInfo) -> Path:
        if not info.context:
            return path
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} is not relative to the store")
        resolved: Path = info.context["store"] / path
        return resolved

    @field_serializer("path")
    def _relative(self, path: Path, info: FieldSerializationInfo) -> str:
        return str(path.relative_to(info.context["store"]) if info.context else path)


class SplitRefs(BaseModel, frozen=True):
    """Refs of the three image sets of a split."""

    train: Ref
    val: Ref
    test: Ref


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A new path next to `target`, deleted when the block ends; UserError if it cannot be written."""
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield draft
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        _remove(draft)


def _unwritable(target: Path, error: OSError) -> Exception:
    """UserError if the target itself is not writable (disk full, read-only); transient and other errors are returned unchanged."""
    if passes(error):
        return error
    place = str(error.filename or "")
    ours = not place or place.startswith(str(target.parent)) or str(target).startswith(place)
    reason = error.strerror or str(error)
    return UserError(f"cannot write to {target}: {reason}") if ours else error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A draft path for a file or folder, renamed to `target` when the block succeeds.

    `target` never holds a partial result. An existing folder is replaced completely.
    Raises UserError if the target cannot be written.
    """
    target = target.resolve()
    with _draft(target) as draft:
        yield draft
        if not target.is_dir():
            os.replace(draft, target)
            return
        old = draft.with_suffix(".old")
        os.rename(target, old)
        try:
            os.rename(draft, target)
        except OSError:
            os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _used(path: Path) -> bool:
    """Mark a path as used now (see `pruning`); return whether it exists."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:  # another user's file in a shared store
        return path.exists()
    return True


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's sorted (relative name, SHA-256) lines."""
    if path.is_dir():
        lines = (
            f"{file.relative_to(path).as_posix()} {digest(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Store:
    """Content-addressed files: `root/<kind>/<first 20 hex digits of the SHA-256><suffix>`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = home() / "store" if root is None else root

    def put(self, kind: str, write: Callable[[Path], None], suffix: str = "") -> Ref:
        """Let `write` create a file or folder, and rename it to a path derived from its hash."""
        with _draft(self.root / kind / "new") as draft:
            write(draft)
            sha = digest(draft)
            final = self.root / kind / f"{sha[:20]}{suffix}"
            if not _used(final):
                try:
                    os.rename(draft, final)
                except OSError:
                    # Another process stored the same content meanwhile.
                    if not final.exists():
                        raise
        return Ref(path=final, sha256=sha)

    def put_images(self, images: ImageSet, rows: NDArray[np.int64] | None = None) -> Ref:
        """Store an image set, or its `rows`; at most BLOCK bytes of images are in memory."""
        selected = np.arange(len(images)) if rows is None else rows
        step = max(1, BLOCK // int(np.prod(images.spec.shape)))

        def write(folder: Path) -> None:
            with image_writer(folder, len(selected), images.spec) as out:
                for start in range(0, len(selected), step):
                    out[start : start + step] = images.images[selected[start : start + step]]
            table = images.table if rows is None else images.table.iloc[rows].reset_index(drop=True)
            write_labels(folder, images.labels[selected], images.classes, table)

        return self.put("images", write)

    def find(self, kind: str, sha256: str, suffix: str = "") -> Path | None:
        """The path of stored content by its SHA-256; None if the store does not hold it."""
        path = self.root / kind / f"{sha256[:20]}{suffix}"
        return path if _used(path) else None

    def images(self, sha256: str) -> ImageSet | None:
        """The image set with this SHA-256, memory-mapped; None if the store does not hold it."""
        path = self.find("images", sha256)
        return None if path is None else load_images(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A path for a folder that is deleted when the block ends."""
        with _draft(self.root / "scratch" / "new") as draft:
            yield draft

    def put_json(self, kind: str, value: Any) -> Ref:
        """Store a value as JSON with sorted keys."""
        return self.put(kind, lambda path: write_json(path, value), ".json")

    def put_table(self, kind: str, table: pd.DataFrame) -> Ref:
        """Store a table as Parquet: floats keep full precision and text stays text."""
        return self.put(kind, lambda path: table.to_parquet(path, index=False), ".parquet")

    def put_state(self, kind: str, state: Mapping[str, Any]) -> Ref:
        """Store tensors and plain values, readable with `weights_only=True`."""

        def write(path: Path) -> None:
            # With a path, torch writes the file name into the file, so equal states would differ.
            with path.open("wb") as stream:
                torch.save(dict(state), stream)

        return self.put(kind, write, ".pt")

    def keyed(
        self, kind: str, key: str, make: Callable[[], dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Result of `make`, cached under a key that identifies everything it depends on."""
        path = self.root / kind / f"{key}.pt"
        if not path.exists():
            state = make()
            with beside(path) as draft:
                torch.save(state, draft)
            return state
        _used(path)
        return load_state(path)


@contextmanager
def image_writer(folder: Path, n: int, spec: ImageSpec) -> Iterator[NDArray[np.uint8]]:
    """A writable memory map uint8 (n,C,H,W) in a new `folder`; flushed when the block ends."""
    folder.mkdir(parents=True)
    shape = (n, *spec.shape)
    path = folder / "images.npy"
    if n == 0:
        np.save(path, np.empty(shape, np.uint8))
        yield np.empty(shape, np.uint8)
        return
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # Allocate first: writing to a memory map on a full disk raises SIGBUS instead of an error.
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    yield rows
    rows.flush()


def write_labels(
    folder: Path, labels: NDArray[np.int64], classes: tuple[str, ...], table: pd.DataFrame
) -> None:
    """Complete the folder that `image_writer` started."""
    np.save(folder / "labels.npy", labels)
    write_json(folder / "classes.json", list(classes))
    table.to_parquet(folder / "table.parquet", index=False)


def load_images(ref: Ref | Path) -> ImageSet:
    """A stored image set, its images memory-mapped."""
    folder = ref.path if isinstance(ref, Ref) else ref
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    empty = len(labels) == 0  # an empty file cannot be memory-mapped
    images = np.load(folder / "images.npy", mmap_mode=None if empty else "r", allow_pickle=False)
    table = pd.read_parquet(folder / "table.parquet")
    return ImageSet(
        images, labels, json.loads((folder / "classes.json").read_text(encoding="utf-8")), table
    )


def load_splits(refs: SplitRefs) -> Splits:
    """The three sets of a split, memory-mapped."""
    return Splits(load_images(refs.train), load_images(refs.val), load_images(refs.test))


def load_state(ref: Ref | Path) -> dict[str, Any]:
    """A stored checkpoint; it cannot run code (`weights_only=True`)."""
    path = ref.path if isinstance(ref, Ref) else ref
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_table(ref: Ref) -> pd.DataFrame:
    """A stored table."""
    return pd.read_parquet(ref.path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def load_json(ref: Ref | Path) -> Any:
    """A stored JSON value."""
    return json.loads((ref.path if isinstance(ref, Ref) else ref).read_text(encoding="utf-8"))
