"""Losses for imbalanced classes against worked examples and the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from objectives import COUNTS, EVEN, NATURAL, batch, made
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from augpipe.classifiers import objective as objectives
from augpipe.classifiers.losses import losses
from augpipe.classifiers.objective import Named
from augpipe.classifiers.options import Mix


def test_focal_of_two_classes_is_torchvisions_binary_one() -> None:
    x, y = batch(k=2)
    z = torch.stack([torch.zeros(len(x)), x[:, 0]], 1)  # p(1) = sigmoid(x)
    for gamma in (0.0, 0.5, 2.0):
        theirs = sigmoid_focal_loss(x[:, 0], y.float(), alpha=-1, gamma=gamma, reduction="mean")
        ours = made({"kind": "focal", "gamma": gamma})(z, [Named(y)])
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5), gamma


def test_focal_stays_finite_where_it_is_sure() -> None:
    z = torch.tensor([[80.0, 0.0], [0.0, 80.0]], requires_grad=True)
    for gamma in (0.5, 2.0):
        loss = made({"kind": "focal", "gamma": gamma})(z, [Named(torch.tensor([0, 0]))])
        loss.backward()
        assert math.isfinite(float(loss.detach())) and bool(torch.isfinite(z.grad).all())


def test_logit_adjustment_by_hand() -> None:
    z = torch.tensor([[1.0, 2.0, 0.0]])
    # exp(z + log prior) = prior · exp(z)
    shares = NATURAL.float() * z[0].exp()
    for label in range(3):
        expected = -math.log(float(shares[label] / shares.sum()))
        found = made("logit_adjustment")(z, [Named(torch.tensor([label]))])
        assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", [{"kind": "logit_adjustment", "tau": 0}, {"kind": "logit_adjustment"}])
def test_logit_adjustment_without_tau_or_over_even_batches_is_cross_entropy(loss) -> None:
    z, y = batch()
    prior = NATURAL if loss.get("tau") == 0 else EVEN
    found = made(loss, prior=prior)(z, [Named(y)])
    assert float(found) == pytest.approx(float(F.cross_entropy(z, y)), rel=1e-6)


def test_a_class_that_never_comes_breaks_no_loss() -> None:
    z, _ = batch()
    prior = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64)
    y = torch.zeros(len(z), dtype=torch.int64)
    for loss in losses:
        for weights in ("none", "balanced", "effective"):
            own = Mix(loss=loss, weights=weights)
            found = objectives.objective(own.loss, own.weights, 0, prior, {0: 7, 1: 3, 2: 0})
            assert math.isfinite(float(found(z, [Named(y)]))), (loss, weights)


def test_ldam_by_hand() -> None:
    """Margins C / n^(1/4), the largest 0.5 for the class with ten images; only the own class gives it up."""
    scale, cosines = 30.0, torch.tensor([[0.2, 0.1, 0.4]])
    for label, n in COUNTS.items():
        margin = 0.5 * (10 / n) ** 0.25
        z = [scale * (float(c) - margin * (at == label)) for at, c in enumerate(cosines[0])]
        expected = math.log(sum(map(math.exp, z))) - z[label]
        found = made("ldam")(scale * cosines, [Named(torch.tensor([label]))])
        assert float(found) == pytest.approx(expected, rel=1e-4)
    assert made("ldam").scale == scale and made("focal").scale is None


def test_a_loss_is_a_name_or_a_mapping_and_keeps_its_settings() -> None:
    mix = Mix(loss={"kind": "focal", "gamma": 1.5})
    assert Mix.model_validate(mix.model_dump(mode="json")) == mix and mix.loss.gamma == 1.5
    assert Mix(loss="ldam") != Mix(loss={"kind": "ldam", "margin": 0.3})
    for wrong, said in (
        ("fokal", "unknown loss 'fokal' (did you mean 'focal'?)"),
        ({"kind": "focal", "gama": 1}, "unknown key 'gama'"),
        ({"gamma": 1}, "a loss must be a name, or a mapping with a kind"),
        (3, "a loss must be a name"),
    ):
        with pytest.raises(ValueError, match="loss") as refused:
            Mix(loss=wrong)
        assert said in str(refused.value)


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValueError, match=r"defer: 0\.5 has no effect with weights: none"):
        Mix(defer=0.5)
    with pytest.raises(ValueError, match="alpha: 1 has no effect with blend: none"):
        Mix(alpha=1.0)
