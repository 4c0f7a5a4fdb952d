from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from augpipe.core import device as runtime
from augpipe.core.device import ClassRows, Pool
from augpipe.core.images import ImageSet, provenance
from augpipe.core.machine import cores


def test_pool_gathers_the_same_from_memory_and_from_disk(here, make_shapes) -> None:
    images = make_shapes((5, 7))
    rows = torch.tensor([3, 3, 11, 0])
    resident, mapped = Pool(images, here), Pool(images, here, limit=0)
    assert torch.equal(resident.gather(rows), mapped.gather(rows))
    assert np.array_equal(resident.gather(rows).numpy(), images.images[rows.numpy()])
    assert torch.equal(resident.labels, torch.from_numpy(images.labels))


def test_threads_precision_and_memory_format() -> None:
    runtime.set_fill(True)
    found = runtime.start("cpu", "32-true", threads=2)
    assert not runtime.set_fill(False)  # it would cost time
    assert torch.get_num_threads() == 2 and found.device.type == "cpu"
    conv = found.place(torch.nn.Conv2d(3, 4, 3))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    with found.autocast():
        assert conv(found.move(torch.rand(1, 3, 8, 8))).dtype == torch.float32
    half = runtime.start("cpu", "bf16-mixed", threads=1)
    with half.autocast():
        assert conv(half.move(torch.rand(1, 3, 8, 8))).dtype == torch.bfloat16


def test_a_runtime_imports_no_framework() -> None:
    """torchvision and torchmetrics cost each worker process 200 MB and two seconds."""
    script = (
        "import sys; from augpipe.core import device; device.start('cpu')\n"
        "print([n for n in ('torchvision', 'torchmetrics', 'lightning_fabric') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_auto_takes_bf16_only_where_it_is_fast() -> None:
    expected = "bf16-mixed" if runtime.fast_bf16("cpu") else "32-true"
    assert runtime.start("cpu", "auto", threads=1).precision == expected


def test_auto_device_exists() -> None:
    assert runtime.pick_device("auto") in {"cpu", "cuda", "mps"} and runtime.pick_device("cpu") == "cpu"
    assert cores() >= 1


def weighted(labels: list[int], weights: list[float], k: int) -> ClassRows:
    ids = [str(row) for row in range(len(labels))]
    table = provenance(ids, weights=np.array(weights))
    images = np.zeros((len(labels), 1, 4, 4), np.uint8)
    return ClassRows(ImageSet(images, np.array(labels), tuple("abcd"[:k]), table))


def test_within_a_class_images_come_as_their_weights_say() -> None:
    labels, weights = [2, 0, 0, 2, 2], [1.0, 3.0, 1.0, 0.5, 2.5]
    rows = weighted(labels, weights, 3)  # class 1 has no image
    u = (torch.arange(8000, dtype=torch.float64) + 0.5) / 8000
    for label, own in ((0, {1: 0.75, 2: 0.25}), (2, {0: 0.25, 3: 0.125, 4: 0.625})):
        found = rows.pick(torch.full((8000,), label), u)
        shares = {row: float((found == row).double().mean()) for row in set(found.tolist())}
        assert shares == pytest.approx(own)
    nearly_one = torch.full((3,), 1 - 2**-53, dtype=torch.float64)
    assert rows.pick(torch.tensor([0, 2, 0]), nearly_one).tolist() == [2, 4, 2]


def test_a_class_of_great_weights_does_not_drown_another() -> None:
    rows = weighted([0, 0, 1, 1], [1e17, 2e17, 1.0, 3.0], 2)
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    found = rows.pick(torch.ones(400, dtype=torch.int64), u)
    assert float((found == 2).double().mean()) == pytest.approx(0.25)


def test_equal_weights_change_nothing() -> None:
    u = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.randint(0, 2, (500,), generator=torch.Generator().manual_seed(1))
    plain = weighted([0, 1, 1, 0, 1], [1.0] * 5, 2).pick(labels, u)
    assert torch.equal(weighted([0, 1, 1, 0, 1], [7.0] * 5, 2).pick(labels, u), plain)
