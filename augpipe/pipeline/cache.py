"""Results of stages, stored under a key of everything that they depend on, and reused.

The key holds the stage's name, the content of its inputs (settings are inputs), the code that it uses, versions of
libraries, device, precision, threads and processor. A record is a JSON file that is written beside its place and
renamed; its paths are relative to the store. A record that is damaged, that belongs to another key, or whose files are
missing or damaged, is ignored.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from augpipe.core import fingerprints, machine
from augpipe.core.files import beside, check_regular, write_json
from augpipe.core.integrity import LOGGER
from augpipe.core.refs import Ref, SplitRefs, is_stored
from augpipe.core.schema import KindConfig, Strict
from augpipe.pipeline.context import Context, Report, silent
from augpipe.pipeline.records import Record

RECORDS: Final = "records"
Stage = Callable[..., Any]  # stage(context, *inputs) → Record or Ref; some take `report`


@dataclass(frozen=True)
class Result:
    """A stage's result; reused: whether it came from an earlier run."""

    value: Any
    reused: bool


def run(stage: Stage, context: Context, *inputs: Any, report: Report = silent) -> Result:
    """The stage's result: reused if everything it depends on is unchanged, otherwise computed and stored.

    After an edit of the package under a running process nothing is reused or stored.
    """
    context = context.resolved()
    more = {"report": report} if "report" in inspect.signature(stage).parameters else {}
    try:
        parts = dependencies(stage, context, inputs)
    except fingerprints.ChangedError:
        return Result(stage(context, *inputs, **more), False)
    path = _path(context.root, stage, parts)
    if not context.fresh:
        stored = _load(path, stage, parts)
        if stored is not None:
            return Result(stored, True)
    value = stage(context, *inputs, **more)
    _save(path, stage, value, parts)
    return Result(value, False)


def lookup(stage: Stage, context: Context, *inputs: Any) -> Any:
    """The stage's stored result; None if there is none, or nothing may be reused."""
    if context.fresh:
        return None
    context = context.resolved()
    try:
        parts = dependencies(stage, context, inputs)
    except fingerprints.ChangedError:
        return None
    return _load(_path(context.root, stage, parts), stage, parts)


def dependencies(stage: Stage, context: Context, inputs: Sequence[Any]) -> dict[str, Any]:
    """Everything the key of a result depends on, as JSON values; context: resolved."""
    names = inspect.signature(stage).bind(context, *inputs).arguments
    values = {name: value for name, value in names.items() if name not in ("context", "report")}
    modules = {stage.__module__, *(m for value in values.values() for m in _modules(value))}
    # Of a generator that several processes train together (`TrainingSpec.devices`).
    processes = max((getattr(value, "devices", 1) for value in values.values()), default=1)
    environment = machine.environment(context.device, context.precision, context.threads, processes)
    return {
        "stage": stage.__name__,
        "inputs": {name: content(value) for name, value in values.items()},
        "code": fingerprints.fingerprint(sorted(modules)),
        "with": {**environment, **fingerprints.libraries(), "chip": machine.chip(context.device)},
    }


def content(value: Any) -> Any:
    """An input as JSON values that depend only on its content: no paths, no times."""
    if isinstance(value, Ref):
        return value.sha256
    if isinstance(value, Record):
        counted = sorted(set(type(value).model_fields) - type(value).uncounted)
        return {name: content(getattr(value, name)) for name in counted}
    if isinstance(value, SplitRefs):
        return [content(ref) for ref in (value.train, value.val, value.test)]
    if isinstance(value, Strict):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return [[content(key), content(value[key])] for key in sorted(value)]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence):
        return [content(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be part of a cache key")


def _modules(value: Any) -> Iterator[str]:
    """Modules whose code an input depends on: the generator family of options and checkpoints."""
    if isinstance(value, KindConfig):
        yield type(value).__module__
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules(item)
    else:
        yield from getattr(value, "modules", ())


def _path(store: Path, stage: Stage, parts: Mapping[str, Any]) -> Path:
    key = _digest(parts, allow_nan=False)[:32]
    return store / RECORDS / f"{stage.__name__}-{key}.json"


def _digest(value: Any, allow_nan: bool = True) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return hashlib.sha256(text.encode()).hexdigest()


def _adapter(stage: Stage) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(stage)["return"])


def _load(path: Path, stage: Stage, parts: Mapping[str, Any]) -> Any:
    """A record's value; None if there is none, it is damaged, of another key,
    or one of its files is missing or damaged.
    """
    try:
        check_regular(path)
        record = json.loads(path.read_bytes())
        if record["sha256"] != _digest([record["result"], record["depends_on"]]):
            raise ValueError("the record's SHA-256 differs")
        if _digest(record["depends_on"]) != _digest(parts):  # whole, but under another's name
            raise ValueError("the record belongs to another key")
        result = _adapter(stage).validate_python(record["result"], context={"store": path.parents[1]})
        stored = [is_stored(ref.path, ref.sha256) for ref in refs(result)]  # all marked as used
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        LOGGER.warning("%s cannot be read or is damaged; the result is computed again.", path)
        return None
    return result if all(stored) else None


def _save(path: Path, stage: Stage, value: Any, parts: Mapping[str, Any]) -> None:
    context = {"store": path.parents[1]}
    plain = _adapter(stage).dump_python(value, mode="json", context=context)
    # As JSON gives it back, with text keys, so that the digest can be compared when it is read.
    parts, plain = json.loads(json.dumps([parts, plain]))
    record = {"result": plain, "depends_on": parts, "sha256": _digest([plain, parts])}
    if path.is_symlink():  # no record of ours; what it points to is left alone
        path.unlink(missing_ok=True)
    with beside(path) as draft:
        write_json(draft, {**record, "made": time.time()})


def refs(value: Any) -> Iterator[Ref]:
    """Every file that a record names."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from refs(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from refs(inner)
