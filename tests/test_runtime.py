from __future__ import annotations

import numpy as np
import torch

from augpipe import runtime
from augpipe.runtime import Pool


def test_pool_gathers_the_same_from_memory_and_from_disk(here, make_shapes) -> None:
    images = make_shapes((5, 7))
    rows = torch.tensor([3, 3, 11, 0])
    resident, mapped = Pool(images, here), Pool(images, here, limit=0)
    assert torch.equal(resident.gather(rows), mapped.gather(rows))
    assert np.array_equal(resident.gather(rows).numpy(), images.images[rows.numpy()])
    assert torch.equal(resident.labels, torch.from_numpy(images.labels))


def test_threads_precision_and_memory_format() -> None:
    found = runtime.start("cpu", "32-true", threads=2)
    assert torch.get_num_threads() == 2 and found.device.type == "cpu"
    conv = found.place(torch.nn.Conv2d(3, 4, 3))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    with found.autocast():
        assert conv(found.move(torch.rand(1, 3, 8, 8))).dtype == torch.float32
    half = runtime.start("cpu", "bf16-mixed", threads=1)
    with half.autocast():
        assert conv(half.move(torch.rand(1, 3, 8, 8))).dtype == torch.bfloat16


def test_auto_takes_bf16_only_where_it_is_fast() -> None:
    expected = "bf16-mixed" if runtime.fast_bf16("cpu") else "32-true"
    assert runtime.start("cpu", "auto", threads=1).precision == expected


def test_auto_device_exists() -> None:
    assert (
        runtime.pick_device("auto") in {"cpu", "cuda", "mps"}
        and runtime.pick_device("cpu") == "cpu"
    )
    assert runtime.cores() >= 1
