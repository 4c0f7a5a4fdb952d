"""One root seed → named, independent streams; RNG state captured and restored.

Nothing in augpipe reads a global random generator: a run is a function of its config, data and code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch


def entropy(root: int, *names: object) -> int:
    """63-bit seed of the stream `names` under `root`; independent for different names (SHA-256)."""
    text = "\x1f".join([str(int(root)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_stream(root: int, *names: object) -> np.random.Generator:
    """numpy generator of the stream `names`."""
    return np.random.default_rng(entropy(root, *names))


def torch_stream(root: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """torch generator of the stream `names`, on `device`."""
    rng = torch.Generator(device=device)
    rng.manual_seed(entropy(root, *names))
    return rng


def capture(rngs: Mapping[str, torch.Generator]) -> dict[str, torch.Tensor]:
    """uint8 state of each torch generator, fit for a checkpoint."""
    return {name: rng.get_state() for name, rng in rngs.items()}


def restore(rngs: Mapping[str, torch.Generator], states: Mapping[str, torch.Tensor]) -> None:
    """Restore the states from `capture`; KeyError if a generator has no state."""
    for name, rng in rngs.items():
        rng.set_state(states[name].to("cpu", torch.uint8))
