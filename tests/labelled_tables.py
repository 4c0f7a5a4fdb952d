"""Tables of pictures that a test writes, and their listing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pictures import noise, save, source

from augpipe.data import sources
from augpipe.pipeline.experiment import Experiment, build


def images(root: Path, n: int, folder: str = "img") -> list[str]:
    """n pictures below a folder, and their paths relative to the root."""
    paths = [f"{folder}/{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        save(root / path, noise(i))
    return paths


def labelled_table(root: Path, labels: list[object], **columns: list[object]) -> Path:
    """A table of as many pictures as labels."""
    frame = pd.DataFrame({"path": images(root, len(labels)), "label": labels, **columns})
    frame.to_csv(root / "m.csv", index=False)
    return root / "m.csv"


def experiment_of(source: dict[str, object], sets: list[str]) -> Experiment:
    """An experiment that only reads its source, with `--set`s."""
    values = {"name": "table", "source": source, "arms": [{"name": "real"}], "baseline": "real"}
    return build(values, sets)


def load_source(path: Path, sets: list[str]) -> Any:
    """The table's options with `--set`s, as the command reads them."""
    return experiment_of(sources.suggest(path), sets).source


def listed(path: Path, **options: object) -> sources.Listing:
    """The listing of a table."""
    return sources.listing(source("manifest", path=path, **options))
