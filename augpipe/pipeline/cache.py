"""No work twice: what a stage made is kept under a key of all that it follows from, and recalled.

The key is of the inputs' content, of the settings that the stage says it reads (it is given no others), of the code it
uses, of the libraries' versions, the device, the precision and the number of threads. A record is a JSON file that is
written beside and renamed; one whose files are gone, or that cannot be read, counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, get_type_hints

import torch
from pydantic import BaseModel, TypeAdapter, ValidationError

from augpipe.core import fingerprints as code
from augpipe.core.device import environment
from augpipe.core.schema import Strict
from augpipe.core.store import Ref, SplitRefs, Store, beside, write_json
from augpipe.pipeline.records import Job, Part, Record, TrainedGenerator

P = ParamSpec("P")
T = TypeVar("T")
RECORDS: Final = "records"


@dataclass(frozen=True)
class Stage:
    """A stage and the settings of an experiment that it may read, besides those of the generators in its inputs.

    parallel: whether it works on all of `runner.devices`.
    """

    module: str
    name: str
    reads: tuple[str, ...]
    parallel: bool = False


_STAGES: dict[Callable[..., Any], Stage] = {}


def reads(
    *settings: str,
    parallel: bool = False,
) -> Callable[[Callable[Concatenate[Job, P], T]], Callable[Concatenate[Job, P], T]]:
    """Decorator: a stage whose result may be kept, and the fields of `Experiment` that it reads; parallel: see `Stage`."""

    def declare(stage: Callable[Concatenate[Job, P], T]) -> Callable[Concatenate[Job, P], T]:
        _STAGES[stage] = Stage(stage.__module__, stage.__name__, settings, parallel)
        return stage

    return declare


@dataclass(frozen=True)
class Result:
    """What a stage gave; recalled: whether it was kept from an earlier run."""

    value: Any
    recalled: bool


def once(
    stage: Callable[Concatenate[Job, P], T], job: Job, *inputs: P.args, **more: P.kwargs
) -> Result:
    """The stage's result, recalled where all that it follows from is as it was; else made, and kept.

    Callables among the inputs (reports of progress) do not count. With `job.fresh` nothing is recalled; after an edit of
    the package under a process that goes on, nothing is recalled or kept.
    """
    declared, values = _STAGES[stage], [*inputs, *(v for v in more.values() if not callable(v))]
    narrow = job.only(declared.reads, _generators(values))
    try:
        parts = follows_from(declared, narrow, values)
    except code.ChangedError:
        return Result(stage(narrow, *inputs, **more), False)
    path = _place(Store(job.store), declared.name, parts)
    kind = get_type_hints(stage)["return"]
    if not job.fresh:
        found = _recall(path, kind)
        if found is not None:
            return Result(found, True)
    made = stage(narrow, *inputs, **more)
    _keep(path, kind, made, parts)
    return Result(made, False)


def follows_from(stage: Stage, job: Job, inputs: Sequence[Any]) -> dict[str, Any]:
    """All that goes into a result's key, as plain values; job: with nothing but what the stage reads."""
    families = sorted({config.kind for config in job.experiment.generators.values()})
    modules = [stage.module, *(f"augpipe.generators.models.{kind}" for kind in families)]
    _, here = job.start()
    settings = {*stage.reads, "generators"}
    return {
        "stage": stage.name,
        "inputs": [content(value) for value in inputs],
        "settings": job.settings(settings),
        "code": code.fingerprint(modules),
        "with": {
            **environment(here),
            **code.libraries(),
            "chip": _chip(here.device),
            "processes": job.experiment.runner.devices if stage.parallel else 1,
        },
    }


def _chip(device: torch.device) -> str:
    """What computes: other chips of one kind round otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()


def content(value: Any) -> Any:
    """An input as plain values that say what it holds: no places, no times."""
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
    raise TypeError(f"a {type(value).__name__} cannot be part of a key")


def _generators(inputs: Sequence[Any]) -> set[str]:
    """Names of the generators that the inputs are of."""
    found: set[str] = set()
    for value in inputs:
        if isinstance(value, Part | TrainedGenerator):
            found.add(value.name)
        elif isinstance(value, list | tuple):
            found |= _generators(value)
    return found


def _place(store: Store, stage: str, parts: Mapping[str, Any]) -> Path:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return store.root / RECORDS / f"{stage}-{key}.json"


def _recall(path: Path, kind: Any) -> Any:
    """What a record holds; None where there is none, it is damaged, or one of its files is gone."""
    try:
        found = TypeAdapter(kind).validate_python(json.loads(path.read_bytes())["result"])
        for ref in refs(found):
            if not ref.path.is_relative_to(path.parents[1]):
                return None  # of a store that was copied or moved
            _use(ref)
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
    return found


def _use(ref: Ref) -> None:
    """Mark a file as used now, and those that a recipe names: pruning takes what was not for long. OSError if gone."""
    os.utime(ref.path)
    if ref.path.suffix == ".json":
        for value in json.loads(ref.path.read_bytes()).values():
            if isinstance(value, dict) and value.keys() == {"path", "sha256"}:
                os.utime(value["path"])


def _keep(path: Path, kind: Any, made: Any, parts: Mapping[str, Any]) -> None:
    value = TypeAdapter(kind).dump_python(made, mode="json")
    with beside(path) as draft:
        write_json(draft, {"result": value, "follows_from": parts, "made": time.time()})


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
