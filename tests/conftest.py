"""Fixtures: a tiny image set of two shapes that a small net can tell apart, and a runtime."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from augpipe.core import device as runtime
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance
from flows.environment import set_environment

# No test may leave a trace in the developer's own home or ask the network for anything.
# The command's environment, before Prefect and MLflow are imported: most tests call flows without it.
set_environment()
if multiprocessing.parent_process() is None:
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="augpipe-tests-")
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("PREFECT_API_URL", None)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="where nets are")


@pytest.fixture(scope="session")
def here(request: pytest.FixtureRequest) -> Runtime:
    """float32 on one thread: exact comparisons, and on the CPU the same on every machine."""
    return runtime.start(request.config.getoption("device"), "32-true", threads=1)


def shapes(counts: tuple[int, ...], size: int = 16, channels: int = 1, seed: int = 0) -> ImageSet:
    """Class c has a bright bar at its own height, over noise: easy, but not the same twice."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = rng.integers(0, 60, (len(labels), channels, size, size), dtype=np.uint8)
    for row, label in enumerate(labels):
        top = 1 + (label * (size - 4)) // max(1, len(counts)) + rng.integers(0, 2)
        images[row, :, top : top + 3, 2 : size - 2] = rng.integers(180, 255)
    ids = [f"img{row}" for row in range(len(labels))]
    names = tuple(f"c{c}" for c in range(len(counts)))
    return ImageSet(images, labels, names, provenance(ids))


@pytest.fixture
def make_shapes() -> Callable[..., ImageSet]:
    return shapes


def write_folder(root: Path, images: ImageSet, suffix: str = ".png") -> Path:
    """An image set as class folders of pictures."""
    for row, label in enumerate(images.labels):
        folder = root / images.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels: NDArray[np.uint8] = images.images[row]
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        picture.save(folder / f"{row:04d}{suffix}")
    return root


@pytest.fixture
def make_folder() -> Callable[..., Path]:
    return write_folder


@pytest.fixture
def shared() -> Path:
    """Real data sets, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return SHARED
