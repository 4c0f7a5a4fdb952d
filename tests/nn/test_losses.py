from __future__ import annotations

import math

import pytest
import torch

from augpipe.nn import losses


def test_discriminator_loss_on_a_worked_example() -> None:
    # D(x) = 3/4 for the real one and 1/4 for the fake one: -log(3/4) - log(1 - 1/4).
    real, fake = torch.tensor([math.log(3)]), torch.tensor([-math.log(3)])
    assert losses.discriminator_bce(real, fake).item() == pytest.approx(-2 * math.log(0.75))
    smooth = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25)) - math.log(0.75)
    assert losses.discriminator_bce(real, fake, 0.9).item() == pytest.approx(smooth)


def test_generator_loss_does_not_saturate() -> None:
    fake = torch.tensor([-8.0], requires_grad=True)
    losses.generator_bce(fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(-1, abs=1e-3)  # sigmoid(-8) - 1: not vanishing


def test_classification_takes_logits_and_weights() -> None:
    logits, labels = torch.log(torch.tensor([[0.7, 0.3], [0.2, 0.8]])), torch.tensor([0, 0])
    plain = -(math.log(0.7) + math.log(0.2)) / 2
    assert losses.classification(logits, labels).item() == pytest.approx(plain)
    labels = torch.tensor([0, 1])
    weighted = -(3 * math.log(0.7) + 1 * math.log(0.8)) / 4
    found = losses.classification(logits, labels, torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx(weighted)


def test_hinge_on_a_worked_example() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0])
    # Reals: max(0, 1-2), max(0, .5), max(0, 2); fakes: max(0, 1-3), max(0, 1).
    found = losses.discriminator_hinge(real, fake).item()
    assert found == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1) / 2)
    assert losses.generator_score(fake).item() == pytest.approx(1.5)


def test_wasserstein_and_drift() -> None:
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([1.0, -2.0])
    assert losses.critic_wasserstein(real, fake).item() == pytest.approx(-0.5 - 3)
    assert losses.drift(real).item() == pytest.approx((4 + 16) / 2)


def test_class_or_fake_is_one_softmax_over_the_classes_and_fake() -> None:
    # Three outputs: two classes and FAKE; probabilities as written.
    real = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]))
    fake = torch.log(torch.tensor([[0.3, 0.3, 0.4]]))
    as_class, as_fake = losses.class_or_fake(real, torch.tensor([0, 1]), fake)
    assert as_class.item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert as_fake.item() == pytest.approx(-math.log(0.4))


def test_class_or_fake_gradients_are_softmax_minus_target() -> None:
    """d CE / d logits = p - onehot, to the class for a real image, to FAKE for a fake one."""
    real = torch.randn(1, 4, requires_grad=True)
    fake = torch.randn(1, 4, requires_grad=True)
    as_class, as_fake = losses.class_or_fake(real, torch.tensor([2]), fake)
    (as_class + as_fake).backward()
    for logits, target in ((real, 2), (fake, 3)):
        expected = logits.detach().softmax(1)
        expected[0, target] -= 1
        assert logits.grad is not None and torch.allclose(logits.grad, expected, atol=1e-6)
    # The generator's side pulls towards the class that was asked for, not merely away from FAKE.
    made = torch.randn(1, 4, requires_grad=True)
    losses.classification(made, torch.tensor([1])).backward()
    assert made.grad is not None and made.grad[0, 1] < 0 and (made.grad[0, [0, 2, 3]] > 0).all()


def test_realness_is_the_logit_of_the_class_against_fake() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0], [0.0, -1.0, 3.0]])
    assert losses.realness(logits, torch.tensor([1, 0])).tolist() == [3.0, -3.0]


def test_data_to_data_on_a_worked_example() -> None:
    """Two classes on the unit circle, margin .98, temperature .5 (Kang et al. 2021, eq. 7)."""
    # Image 0 of class 0 at 0 degrees, 1 of class 0 at 60, 2 of class 1 at 90; proxies at 0 and at 90 degrees.
    angle = torch.deg2rad(torch.tensor([0.0, 60.0, 90.0]))
    # Lengths do not count: embeddings are normalised.
    embedding = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[3.0], [0.2], [1.0]])
    proxies = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    labels = torch.tensor([0, 0, 1])

    def one(own: float, others: list[float]) -> float:
        positive = min(0.0, own - 0.98) / 0.5
        negative = [max(0.0, s - 0.02) / 0.5 for s in others]
        total = math.exp(positive) + sum(math.exp(n) for n in negative)
        return -math.log(math.exp(positive) / total)

    by_hand = [
        one(1.0, [0.0]),  # on its proxy; the other class stands at a right angle
        one(0.5, [math.cos(math.radians(30))]),
        one(1.0, [0.0, math.cos(math.radians(30))]),
    ]
    found = losses.data_to_data(embedding, proxies, labels)
    assert found.item() == pytest.approx(sum(by_hand) / 3, rel=1e-5)


def test_data_to_data_leaves_easy_pairs_alone() -> None:
    # Positives above the margin and negatives under 1 - margin: no gradient at all.
    embedding = torch.tensor([[1.0, 0.05], [-0.9, 1.0]], requires_grad=True)
    proxies = torch.tensor([[1.0, 0.0], [-0.9, 1.05]])
    losses.data_to_data(embedding, proxies, torch.tensor([0, 1])).backward()
    assert embedding.grad is not None and embedding.grad.abs().max() == 0


def test_feature_matching_is_the_distance_of_the_means() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    assert losses.feature_matching(real, fake).item() == pytest.approx(2**2 + 3**2)


def test_lecam_draws_each_side_towards_the_mean_of_the_other() -> None:
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([-1.0])
    found = losses.lecam(real, fake, torch.tensor(3.0), torch.tensor(-2.0)).item()
    assert found == pytest.approx((4**2 + 6**2) / 2 + (-1 - 3) ** 2)
