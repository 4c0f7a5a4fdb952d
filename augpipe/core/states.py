"""Write states so that equal ones give equal bytes, however their objects came about."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values, readable with `weights_only=True`."""
    with path.open("wb") as stream:  # with a path, torch would write its name into the file
        torch.save(dict(canonical(state)), stream)


def canonical(value: Any) -> Any:
    """A copy in which equal texts are one object, and nothing else is shared.

    Pickle writes an object that it meets again as a reference. A state that was read from a checkpoint shares other
    objects than the state that was saved, and its file would differ.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().clone()  # with a storage of its own, no larger than the tensor
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, OrderedDict):
        copied = OrderedDict((canonical(key), canonical(item)) for key, item in value.items())
        for name, item in vars(value).items():  # `_metadata` of a module's state
            setattr(copied, name, canonical(item))
        return copied
    if isinstance(value, Mapping):
        return {canonical(key): canonical(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([canonical(item) for item in value])
    return value
