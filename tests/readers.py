"""Written sets as the libraries read them that people use; a test is skipped where a library is missing."""

from __future__ import annotations

import gc
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@contextmanager
def open_files_are_theirs() -> Iterator[None]:
    """Files that another library leaves open, and closes when it is collected, are not a warning of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def image_folder(folder: Path, cache: Path) -> list[dict[str, Any]]:
    """The rows of Hugging Face's `imagefolder`, with pictures as `image`."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}  # read when it is imported
    datasets = pytest.importorskip("datasets")
    with open_files_are_theirs():
        loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache))
        assert list(loaded) == ["train"]
        return list(loaded["train"])


def shard_samples(shard: Path) -> list[dict[str, Any]]:
    """The samples of a WebDataset shard, with `png` as a picture, `cls` as a number, `json` as a dictionary."""
    webdataset = pytest.importorskip("webdataset")
    with open_files_are_theirs():
        samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode())
    # Its own decoder of pictures gives RGB without metadata.
    return [{**sample, "png": Image.open(io.BytesIO(sample["png"]))} for sample in samples]


def croissant(file: Path) -> Any:
    """A set as mlcroissant reads its description; UserError, or what it raises, for one that is not valid."""
    mlcroissant = pytest.importorskip("mlcroissant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of rdflib, which it uses
        return mlcroissant.Dataset(file)
