"""Values inside of objects of JSON and structs of Parquet, under the names of the keys that lead to them:
`meta.patient_id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

DEEPEST: Final = 3  # objects around a value
MOST: Final = 100  # values of one object


def inner_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Single values inside of the objects of a row, by dotted names;
    those that are keys of the row itself are left out.
    """
    values: dict[str, Any] = {}
    for name, value in _within(row, "", DEEPEST):
        if name not in row and len(values) < MOST:
            values[name] = value
    return values


def flat(table: Any) -> Any:
    """A table of Arrow whose structs are columns for each of their fields, as `meta.patient_id`."""
    import pyarrow as pa  # 50 MB: imported only if there is a table

    for _ in range(DEEPEST):
        if any(pa.types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
    return table


def single(value: Any) -> Any:
    """A list of one value, or none, → this value; others as they are."""
    if not isinstance(value, list) or len(value) > 1 or any(isinstance(v, list | dict) for v in value):
        return value
    return value[0] if value else None


def _within(row: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth:
            yield from _within(value, f"{name}.", depth - 1)
        elif prefix and not isinstance(value := single(value), Mapping | list):
            yield name, value
