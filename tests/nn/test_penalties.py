from __future__ import annotations

import pytest
import torch

from augpipe.nn.penalties import gradient_penalty, input_gradients, r1


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def linear(w: torch.Tensor):
    """score(x) = <w, x>, whose gradient is w everywhere."""
    return lambda x: (x * w).sum((1, 2, 3))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 2)])
def test_penalty_of_a_linear_critic_is_over_all_axes(shape: tuple[int, ...]) -> None:
    w = torch.randn(shape, generator=rng())
    x = torch.randn(6, *shape, generator=rng())
    found = gradient_penalty(linear(w), x, x + 1, rng())
    assert found.item() == pytest.approx((w.norm().item() - 1) ** 2, rel=1e-5)
    # The norm over one axis alone, as public code has it, would be another figure.
    assert found.item() != pytest.approx(((w.norm(dim=0) - 1) ** 2).mean().item(), rel=1e-2)


def test_penalty_is_zero_for_a_unit_gradient_and_drives_the_critic_there() -> None:
    w = torch.randn(1, 3, 3, generator=rng())
    unit = w / w.norm()
    x = torch.randn(4, 1, 3, 3, generator=rng())
    assert gradient_penalty(linear(unit), x, -x, rng()).item() == pytest.approx(0, abs=1e-10)
    w = w.requires_grad_()
    gradient_penalty(linear(w), x, -x, rng()).backward()
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    assert w.grad is not None
    assert torch.allclose(w.grad, 2 * (w.norm() - 1) * w.detach() / w.norm(), rtol=1e-4)


def test_a_critic_that_is_constant_leaves_no_nan() -> None:
    w = torch.zeros(1, 2, 2, requires_grad=True)
    x = torch.randn(3, 1, 2, 2, generator=rng())
    penalty = gradient_penalty(linear(w), x, -x, rng())
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert w.grad is not None and w.grad.isfinite().all()


def test_penalty_is_taken_between_real_and_fake() -> None:
    seen = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.square().sum((1, 2, 3))

    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    gradient_penalty(critic, real, fake, rng())
    (x,) = seen
    assert (x == x[:, :1, :1, :1]).all()  # one mixing weight an image
    assert x.min() >= 0 and x.max() <= 1 and x.mean() == pytest.approx(0.5, abs=0.03)


def test_r1_of_a_quadratic_critic() -> None:
    x = torch.randn(8, 2, 3, 3, generator=rng())
    found = r1(lambda t: 0.5 * t.square().sum((1, 2, 3)), x)  # its gradient is x itself
    assert found.item() == pytest.approx(0.5 * x.square().sum((1, 2, 3)).mean().item(), rel=1e-5)


def test_gradients_of_images_do_not_mix() -> None:
    x = torch.randn(3, 1, 2, 2, generator=rng())
    found = input_gradients(lambda t: t.pow(3).sum((1, 2, 3)), x)
    assert torch.allclose(found, 3 * x.square().flatten(1))
