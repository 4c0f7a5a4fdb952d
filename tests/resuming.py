"""Trains families one after the other, each in a process of its own, and goes on where that one was killed.

It says each tick as NAME|PID, and leaves FOLDER/NAME.sha256, the digest of the trained generator's whole state.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contracts import draw, few_images_for_statistics, tiny
from shapes import shapes

from augpipe.core import device as runtime
from augpipe.core.checkpoint import Checkpoint
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.generators.protocol import Generator, Problem
from augpipe.generators.ticks import Hooks, Tick


def leaves(state: Any, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Every value of a nested state, by its place."""
    if isinstance(state, dict):
        for key in state:
            yield from leaves(state[key], f"{path}/{key}")
    elif isinstance(state, list | tuple):
        for at, value in enumerate(state):
            yield from leaves(value, f"{path}/{at}")
    elif isinstance(state, torch.Tensor):
        yield path, state.contiguous().numpy().tobytes()
    else:
        yield path, repr(state).encode()


def digest(state: Any) -> str:
    found = hashlib.sha256()
    for path, value in leaves(state):
        found.update(path.encode() + b"\0" + value)
    return found.hexdigest()


def train(name: str, folder: Path) -> None:
    here = runtime.start("cpu", "auto", threads=1)
    images = shapes((9, 6, 5))
    config = tiny(name).model_copy(update={"ticks": 6, "patience": None})
    config = config.model_copy(update={"kimg": config.kimg * 2})
    generator = families.build(config, Problem(images.spec, images.classes), here, 7)

    def validate(current: Generator) -> float:
        return float(np.mean(draw(current, [0, 1, 2, 0]).numpy()))

    def on_tick(tick: Tick, current: Generator) -> dict[str, Any]:
        print(f"{name}|{os.getpid()}", flush=True)
        time.sleep(0.05)  # so that a kill falls before, in or after the writing of a checkpoint
        return {}

    fitted = training.fit(
        generator,
        images,
        config,
        here,
        seed=5,
        hooks=Hooks(validate, on_tick),
        checkpoint=Checkpoint(folder / f"{name}.pt", {"name": name}),
    )
    ticks = [(t.kimg, t.losses, t.metric, t.best, t.diversity) for t in fitted.ticks]
    whole = {"best": fitted.state, "last": generator.state_dict(), "ticks": ticks}
    (folder / f"{name}.sha256").write_text(digest(whole))


def main(folder: Path, names: list[str]) -> None:
    """Each family in a fork of this process, which has imported all and computed nothing; again until it is through."""
    # Checkpoints within ticks too, so that a kill is followed by one that goes on in the middle of a tick.
    training.SAVE_INTERVAL, training.SAVE_SHARE, training.CHECK_INTERVAL = 0.0, 0, 2  # type: ignore[misc]
    for name in names:
        while True:
            if (pid := os.fork()) == 0:
                with few_images_for_statistics():
                    train(name, folder)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status == 0:
                break
            if status != -signal.SIGKILL:
                sys.exit(status)
