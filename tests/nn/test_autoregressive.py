"""The gated PixelCNN and its mixture: order of pixels, probabilities that sum to 1, cached sampling."""

from __future__ import annotations

import itertools

import pytest
import torch

from augpipe.nn import mixtures
from augpipe.nn.autoregressive import GatedPixelCNN
from augpipe.nn.blocks import initialise


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net(channels: int, components: int = 2, layers: int = 3) -> GatedPixelCNN:
    outputs = mixtures.parameters(channels, components)
    one = GatedPixelCNN(channels, 2, outputs, features=6, layers=layers, dropout=0.5)
    initialise(one, torch.Generator().manual_seed(1))
    return one.eval()


def test_a_pixel_depends_on_all_before_it_and_on_none_after() -> None:
    x, labels, model = random(1, 2, 5, 5), torch.tensor([1]), net(2, layers=5)
    order = torch.arange(25).view(5, 5)
    before = model(x, labels)
    assert not torch.equal(before, model(x, 1 - labels))
    for i, j in itertools.product(range(5), range(5)):
        x2 = x.clone()
        x2[0, :, i, j] += 1
        changed = (model(x2, labels) != before).any(1)[0]
        # Every pixel sees all before it: up to five rows above, and to each side.
        assert torch.equal(changed, order > order[i, j]), (i, j)


@pytest.mark.parametrize(("channels", "size", "levels"), [(1, 2, 4), (3, 1, 5)])
def test_probabilities_of_all_images_sum_to_1(channels, size, levels) -> None:
    values = channels * size * size
    pixels = torch.tensor(list(itertools.product(range(levels), repeat=values))).view(-1, channels, size, size)
    model = net(channels).double()
    labels = torch.ones(len(pixels), dtype=torch.int64)
    raw = model(mixtures.to_values(pixels, levels).double(), labels)
    total = mixtures.log_likelihood(raw, pixels, levels).sum((1, 2)).exp().sum().detach()
    assert len(pixels) == levels**values and float(total) == pytest.approx(1, abs=1e-4)


def test_cached_sampling_draws_what_whole_passes_draw() -> None:
    model, labels, size = net(3), torch.tensor([0, 1, 1]), 5
    uniform = torch.rand(size, size, 3, 4, generator=torch.Generator().manual_seed(0))
    cached = model.generate(labels, size, lambda raw, i, j: mixtures.draw(raw, uniform[i, j]))
    x = torch.zeros(3, 3, size, size)
    for i, j in itertools.product(range(size), range(size)):
        x[:, :, i, j] = mixtures.draw(model(x, labels)[:, :, i, j], uniform[i, j])
    torch.testing.assert_close(cached, x, rtol=0, atol=0)
    assert x.std() > 0.2
