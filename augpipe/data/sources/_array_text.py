"""Arrays of an .npz that are not used: read as text where they may be groups."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.data.sources._npy import BROKEN, head, values_of
from augpipe.data.sources._settings import setting


def as_text(values: NDArray[Any]) -> NDArray[np.object_]:
    """Numbers or text (N,) → text without spaces around it;
    12.0 is 12, as where a gap made numbers floats, and NaN is "".
    """
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        texts = ["" if np.isnan(v) else f"{v:.0f}" if v == np.round(v) else str(v) for v in values]
    else:
        texts = [str(value).strip() for value in values]
    return np.array(texts, object)


def check_readable(path: Path, name: str, inner: str) -> None:
    """UserError if an array that is called as groups are holds Python objects, which are not read."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        try:
            head(stream, f"the array {name!r} of {path}, which is called as groups are,")
        except UserError as error:
            raise UserError(f"{error}; or set {setting('source.ignore', (inner,))} to leave it unused") from None


def texts_of(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Values of an array that may be groups or names, as text, by its name; of a structured one its fields, as
    `meta.patient`.

    Empty if they are of another form, or of fractions.
    """
    try:
        values = read(path, name)
    except (*BROKEN, UserError):
        return {name: np.empty(0)}
    fields = values.dtype.names
    if fields is None:
        return {name: _text(values)}
    return {f"{name}.{field}": _text(values[field]) for field in fields}


def text_of(path: Path, name: str) -> NDArray[Any]:
    """Values of an array that is not structured, see `texts_of`."""
    return texts_of(path, name).get(name, np.empty(0))


def read(path: Path, name: str, one_hot: bool = False) -> NDArray[Any]:
    """An array of an .npz, one value per image (N,), see `values_of`."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        return values_of(stream, f"{name} of {path}", one_hot)


def _text(values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if values.ndim != 1 or kind not in "iubUSf":
        return np.empty(0)
    fractions = kind == "f" and (values[~np.isnan(values)] % 1 != 0).any()  # also of infinity
    return np.empty(0) if fractions else as_text(values)
