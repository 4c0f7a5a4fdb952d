"""Images in a column of a Parquet file: recognised by the schema or their first bytes, and read in batches."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import PictureError, UserError, one_line
from augpipe.data.sources._dicom import is_dicom
from augpipe.data.sources._formats import starts_as_picture
from augpipe.data.sources._pictures import Blob

BATCH: Final = 64  # images read at once
BUFFER: Final = 2**20  # bytes of a file read at once
FIRST: Final = 4  # values by which a column is recognised


def read_schema(path: Path) -> Any:
    """Schema of a Parquet file; UserError if it cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from None


def image_columns(path: Path, schema: Any) -> list[str]:
    """Columns of encoded images: those that the set's features call so; without a feature, by the first bytes.

    UserError if the file cannot be read.
    """
    features = features_of(schema)

    def is_image(name: str) -> bool:
        kind = features.get(name, {}).get("_type")
        return kind == "Image" if kind is not None else _first_are_pictures(path, name)

    return [name for name in byte_columns(schema) if is_image(name)]


def byte_columns(schema: Any) -> list[str]:
    """Columns that may hold encoded images: bytes, or structs with `bytes`."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return bool(kind.get_field_index("bytes") >= 0)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return [field.name for field in schema if holds_bytes(field.type)]


def _first_are_pictures(path: Path, column: str) -> bool:
    """Whether the first values of a column are pictures; True if they are missing."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            batch = next(file.iter_batches(FIRST, columns=[column]), None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from None
    blobs = [_blob(value) for value in batch.column(0).to_pylist()] if batch else []
    return all(_is_picture(blob) for blob in blobs if isinstance(blob, bytes))


def _is_picture(data: bytes) -> bool:
    if data.startswith(b"RIFF"):
        return data[8:12] == b"WEBP"  # and no sound
    return starts_as_picture(data) or is_dicom(io.BytesIO(data))


def features_of(schema: Any) -> dict[str, dict[str, Any]]:
    """Hugging Face's description of each column, from the schema's metadata; empty without it."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    if not isinstance(described, dict):
        return {}
    lists = {  # an older form of a list's feature
        name: {"_type": "List", "feature": one[0]}
        for name, one in described.items()
        if isinstance(one, list) and len(one) == 1
    }
    return {name: one for name, one in (described | lists).items() if isinstance(one, dict)}


def image_paths(files: Sequence[Path], column: str) -> NDArray[np.object_]:
    """The path beside each image in its struct (N,), "" without one."""
    import pyarrow as pa
    from pyarrow import parquet

    paths: list[str] = []
    for path in files:
        kind = read_schema(path).field(column).type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            paths += [""] * parquet.read_metadata(path).num_rows
            continue
        with parquet.ParquetFile(path) as file:
            values = file.read(columns=[f"{column}.path"])[column].to_pylist()
        paths += [str((value or {}).get("path") or "") for value in values]
    return np.array(paths, object)


def images_at(path: Path, column: str, rows: NDArray[np.int64]) -> Iterator[Blob]:
    """Images at ascending rows of a file; row groups without any of them are not read.

    One blob per row, even if the file has changed since it was listed and is broken or shorter now.
    """
    import pyarrow as pa
    from pyarrow import parquet

    n_done = 0
    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            start = 0
            for index in range(file.num_row_groups):
                end = start + file.metadata.row_group(index).num_rows
                inside = rows[(rows >= start) & (rows < end)]
                at = start
                for batch in file.iter_batches(BATCH, row_groups=[index], columns=[column]) if len(inside) else ():
                    for row in inside[(inside >= at) & (inside < at + batch.num_rows)]:
                        yield _blob(batch.column(0)[int(row) - at].as_py())
                        n_done += 1
                    at += batch.num_rows
                start = end
        reason = f"the file has {start:,} rows now, fewer than when it was listed"
    except (pa.ArrowException, OSError, IndexError) as error:
        reason = one_line(error)
    yield from [PictureError(f"{path.name}: {reason}")] * (len(rows) - n_done)


def _blob(value: Any) -> Blob:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data:
        return bytes(data)
    path = value.get("path") if isinstance(value, dict) else None
    return PictureError(f"no image, only the path {path!r}" if path else "no image")
