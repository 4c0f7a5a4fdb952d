"""Parts of training techniques, each by its paper's equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from augpipe.core.errors import UserError
from augpipe.nn.attention import SelfAttention, attended_level
from augpipe.nn.blocks import initialise
from augpipe.nn.codes import WithCodes, categories, code_losses
from augpipe.nn.history import PastFakes, ScoreMeans, WeightHistory
from augpipe.nn.minibatch import MinibatchDiscrimination
from augpipe.nn.norms import ConditionalBatchNorm2d, split_sizes
from augpipe.nn.rotations import quarter_turns
from augpipe.nn.virtual_norm import VirtualBatchNorm2d, WithReference


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_self_attention_is_the_sum_over_positions() -> None:
    net = SelfAttention(16)
    initialise(net, rng())
    x = torch.randn(2, 16, 4, 4, generator=rng())
    assert torch.equal(net(x), x)  # the gain starts at 0
    nn.init.constant_(net.gain, 0.7)
    matrices = {name: getattr(net, name).weight.detach()[:, :, 0, 0] for name in "fghv"}
    assert [matrices[name].shape[0] for name in "fgh"] == [2, 2, 8]
    for image, out in zip(x, net(x), strict=True):
        positions = image.flatten(1).T  # (16,C)
        # Pooled keys and values: the maximum of each 2x2 square.
        squares = [[4 * (2 * i + a) + 2 * j + b for a in (0, 1) for b in (0, 1)] for i in (0, 1) for j in (0, 1)]
        keys, values = ((positions @ matrices[name].T) for name in "fh")
        keys, values = (torch.stack([part[rows].amax(0) for rows in squares]) for part in (keys, values))
        for j, position in enumerate(positions):
            scores = torch.stack([key @ (matrices["g"] @ position) for key in keys])
            weights = scores.exp() / scores.exp().sum()
            mixed = sum(weight * value for weight, value in zip(weights, values, strict=True))
            torch.testing.assert_close(out.flatten(1)[:, j], position + 0.7 * (matrices["v"] @ mixed))


def test_resolutions_of_attention() -> None:
    assert [attended_level(side, 64) for side in (4, 8, 16, 32)] == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"attention: 8 is no resolution .* images of 28 pixels; choose from 7, 14"):
        attended_level(8, 28)


def test_minibatch_discrimination_sums_over_the_batch() -> None:
    net = MinibatchDiscrimination(5, 3, dimension=2)
    initialise(net, rng())
    features = torch.randn(4, 5, generator=rng())
    matrix = torch.einsum("na,abc->nbc", features, net.weight.detach().view(5, 3, 2))
    expected = torch.zeros(4, 3)
    for i in range(4):
        for b in range(3):
            for j in range(4):
                expected[i, b] += math.exp(-float((matrix[i, b] - matrix[j, b]).abs().sum()))
    out = net(features)
    assert torch.equal(out[:, :5], features)
    torch.testing.assert_close(out[:, 5:], expected)
    # Of one image over and over each kernel says N, the most there is.
    assert torch.allclose(net(features[:1].expand(4, -1))[:, 5:], torch.tensor(4.0))


def test_virtual_norm_is_of_the_reference_batch_and_the_image() -> None:
    norm = VirtualBatchNorm2d(nn.BatchNorm2d(3), reference=5)
    norm.draw_parameters(rng())
    assert norm.weight is not None and norm.bias is not None
    nn.init.uniform_(norm.weight, 0.5, 2.0, generator=rng())
    nn.init.normal_(norm.bias, generator=rng())
    x = torch.randn(9, 3, 4, 4, generator=rng()) * 3 + 1
    out = norm(x)
    for image in range(5, 9):
        batch = torch.cat([x[:5], x[image : image + 1]])
        expected = nn.functional.batch_norm(batch, None, None, norm.weight, norm.bias, training=True)
        torch.testing.assert_close(out[image], expected[5], atol=1e-5, rtol=1e-5)
    of_reference = nn.functional.batch_norm(x[:5], None, None, norm.weight, norm.bias, training=True)
    torch.testing.assert_close(out[:5], of_reference, atol=1e-5, rtol=1e-5)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), ConditionalBatchNorm2d(4, 2)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(z), labels)


def test_images_with_a_reference_batch_do_not_depend_on_each_other() -> None:
    net = WithReference(Small(), torch.randn(6, 1, 5, 5, generator=rng()), torch.arange(6) % 2)
    initialise(net, rng())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in net.modules())
    z, labels = torch.randn(4, 1, 5, 5, generator=rng(1)), torch.tensor([0, 1, 1, 0])
    whole = net(z, labels)
    assert whole.shape == (4, 4, 3, 3)
    for i in range(4):
        torch.testing.assert_close(net(z[i : i + 1], labels[i : i + 1]), whole[i : i + 1])
    assert {"latents", "labels"} <= set(net.state_dict())


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 8, 3), nn.Linear(20, 6), nn.ConvTranspose2d(6, 4, 4), nn.Embedding(5, 9)]
)
def test_orthogonal_weights(layer: nn.Module) -> None:
    initialise(layer, rng(), "orthogonal")
    matrix = layer.weight.detach().flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    first = layer.weight.detach().clone()
    initialise(layer, rng(), "orthogonal")
    assert torch.equal(layer.weight, first)


def test_a_part_of_the_latent_modulates_a_norm() -> None:
    norm = ConditionalBatchNorm2d(3, 2, latent=4)
    initialise(norm, rng())
    x, labels = torch.randn(5, 3, 2, 2, generator=rng()), torch.tensor([0, 1, 0, 1, 1])
    part = torch.randn(5, 4, generator=rng(1))
    normal = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, labels), normal)
    assert norm.skip is not None
    gain, shift = (part @ norm.skip.weight.T)[:, :, None, None].chunk(2, 1)
    torch.testing.assert_close(norm(x, labels, part), normal * (1 + gain) + shift)
    assert split_sizes(10, 4) == [3, 3, 2, 2] and split_sizes(8, 2) == [4, 4]


def test_historical_averaging_is_the_distance_from_the_mean_of_all_updates() -> None:
    net = nn.Linear(2, 1, bias=False)
    history, past = WeightHistory(net), [net.weight.detach().clone()]
    for step in range(1, 4):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[step**2, -3.0 * step]]))
        mean = torch.stack(past).mean(0)
        torch.testing.assert_close(history.penalty(), (net.weight - mean).square().sum())
        history.add()
        past.append(net.weight.detach().clone())
    history.penalty().backward()
    torch.testing.assert_close(net.weight.grad, 2 * (net.weight - torch.stack(past).mean(0)).detach())
    other = WeightHistory(net)
    assert other.penalty().item() == 0
    other.load_state_dict(history.state_dict())
    assert torch.equal(other.penalty(), history.penalty())


def test_running_means_of_scores() -> None:
    means = ScoreMeans(decay=0.9)
    means.observe(torch.tensor([1.0, 3.0]), torch.tensor([-1.0]))
    assert (float(means.real), float(means.fake)) == (2.0, -1.0)
    means.observe(torch.tensor([4.0]), torch.tensor([0.0, 1.0]))
    assert float(means.real) == pytest.approx(0.9 * 2 + 0.1 * 4)
    assert float(means.fake) == pytest.approx(-0.9 + 0.1 * 0.5)


def pictures(first: int, n: int) -> torch.Tensor:
    """Images of one grey each, which is the number of the image."""
    greys = torch.arange(first, first + n) / 127.5 - 1
    return greys[:, None, None, None].expand(n, 1, 2, 2)


def greys(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_half_of_the_fakes_are_past_ones() -> None:
    past, stream = PastFakes(6), rng()
    first, labels = past.exchange(pictures(0, 4), torch.arange(4), stream)
    assert greys(first) == [0, 1, 2, 3] and labels.tolist() == [0, 1, 2, 3]
    past.exchange(pictures(4, 4), torch.arange(4, 8), stream)  # two of which fill the buffer
    assert past.labels.tolist() == list(range(6)) and past.images.dtype == torch.uint8
    shown, labels = past.exchange(pictures(8, 4), torch.arange(8, 12), stream)
    assert greys(shown) == labels.tolist()  # each with its label
    replayed = [grey for grey in labels.tolist() if grey < 8]
    assert len(replayed) == 2 and set(replayed) <= set(range(6))
    # Those that were not shown took the places of those that were.
    assert sorted(past.labels.tolist()) == sorted({*range(6), *range(8, 12)} - set(labels.tolist()))
    assert past.images[:, 0, 0, 0].tolist() == past.labels.tolist()


def test_quarter_turns() -> None:
    images = torch.arange(2 * 9.0).view(2, 1, 3, 3).repeat(4, 1, 1, 1)
    turned = quarter_turns(images, torch.arange(8) // 2)
    for at, (y, x) in enumerate([(0, 2), (0, 0), (2, 0), (2, 2)]):  # where the top right corner goes
        assert turned[2 * at : 2 * at + 2, 0, y, x].tolist() == [2.0, 11.0]
    assert torch.equal(turned[:2], images[:2])


def test_categories_of_latents_are_uniform_and_stay_when_truncated() -> None:
    z = torch.randn(9000, 5, generator=rng())
    assert torch.allclose(categories(z, 3).bincount() / 9000, torch.full((3,), 1 / 3), atol=0.02)
    assert torch.equal(categories(0.1 * z, 3), categories(z, 3))


class Echo(nn.Module):
    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return z


def test_a_generator_sees_the_category_and_the_other_latents() -> None:
    z = torch.tensor([[0.3, 2.0, -1.0, 0.7], [5.0, 2.0, 9.0, -0.4]])
    seen = WithCodes(Echo(), 3)(z, torch.zeros(2))
    assert seen.tolist() == [[0, 1, 0, z[0, 3].item()], [0, 0, 1, z[1, 3].item()]]


def test_the_bound_of_the_mutual_information() -> None:
    z = torch.tensor([[0.3, 2.0, 0.5, 9.0], [5.0, 2.0, -1.0, 9.0]])
    guess = torch.cat([torch.log(torch.tensor([[0.2, 0.8], [0.6, 0.4]])), torch.tensor([[0.1], [1.0]])], 1)
    categorical, continuous = code_losses(guess, z, 2)
    assert categorical.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert continuous.item() == pytest.approx(0.5 * (0.4**2 + 2.0**2) / 2)
    assert code_losses(guess[:, :2], z, 2)[1] == 0 and code_losses(guess, z, 0)[0] == 0
