"""Columns of a table as text, and the labels in them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError

LONGEST: Final = 10_000  # characters of a path or a label
SHOWN: Final = 40  # characters of a cell in a message
WHOLE: Final = re.compile(r"([+-]?\d+)\.0+")


def text_of(column: Any, where: str) -> NDArray[np.object_]:
    """Column of text, bytes, numbers, booleans or dates, or of lists of one such value → text.

    Whole numbers have no decimal point, bytes that are not UTF-8 are hexadecimal, and missing values are "".
    """
    import pyarrow as pa

    column = _single_values(column)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_null(kind):
        return np.full(len(column), "", object)
    if pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())
        kind = column.type
    if pa.types.is_floating(kind):
        # An integer column with missing values was stored as float.
        values = column.to_pandas()
        formatted = [
            ("" if np.isnan(v) else f"{v:.0f}" if v == round(v) else repr(float(v))) if not np.isinf(v) else str(v)
            for v in values
        ]
        return np.array(formatted, dtype=object)
    if pa.types.is_decimal(kind) or _is_bytes(kind):
        write = _bytes_as_text if _is_bytes(kind) else _decimal_as_text
        return np.array(["" if value is None else write(value) for value in column.to_pylist()], object)
    if not (
        pa.types.is_temporal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    ):
        raise UserError(f"{where} is of type {kind}; use text, numbers, booleans, dates")
    text: NDArray[np.object_] = np.asarray(column.cast(pa.large_string()).fill_null("").to_numpy(), dtype=object)
    return text


def text_or_none(column: Any) -> NDArray[np.object_] | None:
    """A column as text; None if it is of another type, such as structs."""
    try:
        return text_of(column, "")
    except UserError:
        return None


def _single_values(column: Any) -> Any:
    """A column of lists of one value, or none, → these values; others as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_list(column.type):
        return column
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    if len(lengths) and lengths.max() > 1:
        return column
    values = pc.list_flatten(column)
    at = np.where(lengths == 1, np.cumsum(lengths) - 1, -1)
    return values.take(pa.array(at, pa.int64(), mask=at < 0))


def is_text(kind: Any) -> bool:
    """Whether a type is of text, in whatever form."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: Any) -> bool:
    """Whether cells of a type hold several values."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _bytes_as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _decimal_as_text(value: Decimal) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value.normalize():f}"


def has_fractions(column: Any) -> bool:
    """Whether a column is of measurements; whole numbers with gaps are stored as floats too."""
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        return any(value is not None and value != round(value) for value in column.to_pylist())
    if not pa.types.is_floating(column.type):
        return False
    values = column.to_numpy()
    known = values[~np.isnan(values)]
    return bool((known != np.round(known)).any())


def check_cells(values: NDArray[np.object_], name: str, numbers: NDArray[Any], path: Path) -> None:
    """UserError for a long cell or a line break:
    after a quote that is not closed a cell holds the rows up to the next one.
    """
    for value, number in zip(values, numbers, strict=True):
        breaks = "\n" in value.strip() or "\r" in value.strip()
        if breaks or len(value) > LONGEST:
            problem = "a line break" if breaks else f"{len(value):,} characters"
            raise UserError(
                f"row {number} of the manifest {path} has {problem} in its column {name!r}: {value[:SHOWN]!r}...; "
                "perhaps a quote is not closed"
            )


def stripped(column: NDArray[np.object_]) -> NDArray[np.object_]:
    """Strip surrounding spaces: ` cat` after a comma becomes `cat`."""
    return _renamed(column, {name: str(name).strip() for name in pd.unique(column)})


def whole_numbers(column: NDArray[np.object_]) -> NDArray[np.object_]:
    """`0.0`, `1.0` → `0`, `1` if all values are written so, as pandas writes integers with a gap; else as they are."""
    matches = {name: WHOLE.fullmatch(name) for name in pd.unique(column) if name != ""}
    if not matches or not all(matches.values()):
        return column
    return _renamed(column, {name: m[1] for name, m in matches.items() if m} | {"": ""})


def _renamed(column: NDArray[np.object_], names: dict[str, str]) -> NDArray[np.object_]:
    if all(name == new for name, new in names.items()):
        return column
    return np.array([names[name] for name in column], object)
