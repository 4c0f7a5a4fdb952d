"""Fixtures: a tiny image set of two shapes that a small net can tell apart, and a runtime."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import warm
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from shapes import shapes

from augpipe.core import device as runtime
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from flows.environment import set_environment

gc.disable()  # until all is collected
# No test may leave a trace in the developer's own home or ask the network for anything.
# The command's environment, before Prefect and MLflow are imported: most tests call flows without it.
set_environment()
if multiprocessing.parent_process() is None:
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="augpipe-tests-")
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("PREFECT_API_URL", None)
# One thread for what tests start: two of them share two cores (`make test` says so for the tests' own processes too).
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Files that take longest come first, so that at the end all test processes have work.
SLOW = (
    "tests/system",
    "tests/flows",
    "tests/data/test_real_data",
    "tests/core/test_distributed",
    "tests/pipeline/test_cache",
    "tests/synthetic/test_memorisation",
    "tests/generators/test_cgan",
    "tests/contracts",
    "tests/test_tutorials",
    "tests/estimators",
    "tests/test_wheel",
    "tests/test_export",
    "tests/report/test_report",
    "tests/generators",
    "tests/comparison/test_bootstrap",
    "tests/classifiers",
    "tests/synthetic",
    "tests/pipeline",
)
WAITING = ("tests/system", "tests/flows")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="where nets are")


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ and config.getoption("numprocesses", None):
        warm.share()


@pytest.hookimpl(tryfirst=True)  # xdist reads the mark in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several processes one has all tests of a module's fixture, in their order;
    and what takes longest comes first.
    """
    for item in items:
        known = getattr(item, "_fixtureinfo", None)
        scopes = {found[-1].scope for found in known.name2fixturedefs.values()} if known else set()
        if scopes & {"module", "class"}:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    place = {file: at for at, file in enumerate(_turns(list(dict.fromkeys(map(_file, items)))))}
    items.sort(key=lambda item: place[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _turns(files: list[str]) -> list[str]:
    """Files in the order in which they start: those that wait for servers by turns with those that compute.

    Of three processes some wait and some compute then, and no core is idle; the short ones come last.
    """
    files = sorted(files, key=_rank)
    waiting = [file for file in files if file.startswith(WAITING)]
    computing = [file for file in files if not file.startswith(WAITING)]
    pairs = [file for pair in zip(waiting, computing, strict=False) for file in pair]
    return list(dict.fromkeys([*pairs, *files]))


def _rank(file: str) -> int:
    """Place of a file in SLOW, and after all of them."""
    return next((at for at, name in enumerate(SLOW) if file.startswith(name)), len(SLOW))


def pytest_runtest_setup() -> None:
    """One thread again, where a run inside the test process has set more: with more threads than cores
    small nets train ten times slower.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is there before the first test stays: it need not be looked at for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def here(request: pytest.FixtureRequest) -> Runtime:
    """float32 on one thread: exact comparisons, and on the CPU the same on every machine."""
    return runtime.start(request.config.getoption("device"), "32-true", threads=1)


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


def _once(factory: pytest.TempPathFactory, name: str, *sets: str, alone: bool) -> tiny.Ran:
    """A finished run of the tiny experiment, one for all processes of the test session."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    kept = base / f"{name}.json"
    with FileLock(base / f"{name}.lock"):
        if not kept.exists():
            done = tiny.run_tiny(base / name, *sets, alone=alone)
            assert done.status == 0, done.err[-3000:]
            kept.write_text(json.dumps([done.status, done.out, done.err, done.peak]))
    return tiny.Ran(base / name, *json.loads(kept.read_text()))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tiny.Ran:
    """The tiny experiment as a fresh user runs it, with its own servers. Only to be read: `single` is for more runs."""
    return _once(tmp_path_factory, "whole", alone=True)


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> tiny.Ran:
    """The same with one seed, on one thread.
    Other runs may use its home (`tiny.beside`), each with a record of its own.
    """
    return _once(tmp_path_factory, "single", "seeds=1", "runner.threads=1", alone=False)


@pytest.fixture
def shared() -> Path:
    """Real data sets, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return SHARED
