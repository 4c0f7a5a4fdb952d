from __future__ import annotations

import pytest
import torch
from torch import nn

from augpipe.nn.ema import EMA, recalibrate


def test_half_life() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = EMA(net, half_kimg=1.0, ramp=1e9)
    nn.init.ones_(net.weight)
    for step in range(10):  # 10 x 100 images: one half-life
        ema.update(net, seen=10_000 + step * 100, batch=100)
    assert ema.module.weight.item() == pytest.approx(0.5, rel=1e-4)


def test_ramp_forgets_the_start_sooner() -> None:
    ema = EMA(nn.Linear(1, 1), half_kimg=10.0, ramp=0.05)
    assert ema.decay(seen=0, batch=64) == 0
    assert ema.decay(seen=1000, batch=50) == pytest.approx(0.5)  # half-life 0.05 * 1000 images
    assert ema.decay(seen=10**9, batch=64) == pytest.approx(0.5 ** (64 / 10_000))


def test_training_does_not_move_the_average_by_itself() -> None:
    net = nn.Linear(2, 2)
    ema = EMA(net)
    before = ema.module.weight.clone()
    nn.init.zeros_(net.weight)
    assert torch.equal(ema.module.weight, before)
    assert not any(p.requires_grad for p in ema.module.parameters())


def test_recalibration_gives_the_statistics_of_what_it_sees() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2, momentum=0.1))
    batches = [(torch.randn(64, 2, 4, 4) * 3 + 5,) for _ in range(4)]
    recalibrate(net, batches)
    every = torch.cat([b for (b,) in batches]).transpose(0, 1).flatten(1)
    assert torch.allclose(net[0].running_mean, every.mean(1), atol=1e-4)
    assert torch.allclose(net[0].running_var, every.var(1), rtol=2e-2)
    assert not net.training and net[0].momentum == 0.1
