"""stylegan: its parts against the formulas, its penalties' steps, and its truncation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts import draw, steps, tiny

from augpipe.core import device as runtime
from augpipe.core.image_spec import ImageSpec
from augpipe.generators import families
from augpipe.generators.models.stylegan import GeneratorNet, StyleGAN
from augpipe.generators.protocol import Problem
from augpipe.nn.blocks import initialise
from augpipe.nn.penalties import path_lengths
from augpipe.nn.styles import mixed_styles


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(module: torch.nn.Module) -> Any:
    initialise(module, torch.Generator().manual_seed(1))
    return module


def built(**options: Any) -> StyleGAN:
    problem = Problem(ImageSpec(16, 1), ("a", "b", "c"))
    model = families.build(tiny("stylegan", **options), problem, runtime.start("cpu", threads=1), 0)
    assert isinstance(model, StyleGAN)
    return model


def test_the_path_length_of_a_linear_generator_and_its_gradient() -> None:
    """G(w) = A (w_1 + w_2): J^T y = A^T y for both layers, so the length is |A^T y|."""
    matrix, w = random(12, 5).requires_grad_(), random(3, 2, 5, seed=1).requires_grad_()
    noise = random(3, 3, 2, 2, seed=2)
    images = (w.sum(1) @ matrix.T).view(3, 3, 2, 2)
    lengths = path_lengths(images, w, noise)
    by_hand = (noise.flatten(1) / 2 @ matrix).norm(dim=1)
    torch.testing.assert_close(lengths, by_hand)
    (ours,) = torch.autograd.grad((lengths - 0.7).square().mean(), matrix, retain_graph=True)
    (theirs,) = torch.autograd.grad((by_hand - 0.7).square().mean(), matrix)
    torch.testing.assert_close(ours, theirs)


def test_mixing_changes_only_the_later_layers() -> None:
    net = drawn(GeneratorNet(tiny("stylegan"), Problem(ImageSpec(16, 1), ("a", "b"))))
    first, second = random(1, 8), random(1, 8, seed=1)
    outputs: list[list[torch.Tensor]] = []
    for crossover in (net.layers, 3):
        seen: list[torch.Tensor] = []
        hooks = [conv.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out)) for conv in net.convs]
        net.synthesise(mixed_styles(first, second, net.layers, torch.tensor([crossover])), None)
        outputs.append(seen)
        for hook in hooks:
            hook.remove()
    same = [torch.equal(a, b) for a, b in zip(*outputs, strict=True)]
    assert same == [True, True, True, False, False]


def test_the_mean_style_of_a_class_follows_its_styles() -> None:
    model, w = built(), random(5, 8)
    labels = torch.tensor([0, 0, 2, 0, 2])
    model.g.track(w, labels)
    model.g.track(w[:2] + 1, labels[:2])
    first = 0.005 * w[labels == 0].mean(0)
    torch.testing.assert_close(model.g.style_means[2], 0.005 * w[labels == 2].mean(0))
    torch.testing.assert_close(model.g.style_means[0], 0.995 * first + 0.005 * (w[:2] + 1).mean(0))
    assert not model.g.style_means[1].any()


def test_no_latent_gives_one_image_a_class(make_shapes) -> None:
    train = make_shapes((8, 8, 8))
    model = built(learning_rate=0.05)
    steps(model, train, 30)
    labels = [0, 1, 2] * 4
    varied = draw(model, labels)
    assert not torch.equal(varied[0], varied[3])
    model.set_truncation(0.0)
    alike = draw(model, labels)
    for label in range(3):
        assert (alike[label::3] == alike[label]).all()
    assert not torch.equal(alike[0], alike[1])
    net = model.averaged()
    of_mean = net.synthesise(net.style_means[:, None].expand(-1, net.layers, -1), None)
    torch.testing.assert_close(alike[:3], ((of_mean.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8), rtol=0, atol=1)


def test_lazy_penalties_have_updates_of_their_own_at_the_corrected_rate(make_shapes) -> None:
    """Karras et al. 2020, appendix B: with k / (k + 1) of the rate, and the betas to that power."""
    train = make_shapes((8, 8))
    plain, both = built(r1=0.0), built(r1_every=3, path_length=2.0, path_length_every=2)
    for model, counts, c_g, c_d in ((plain, (6, 6), 1.0, 1.0), (both, (9, 8), 2 / 3, 3 / 4)):
        steps(model, train, 6)
        for name, count, c in zip("gd", counts, (c_g, c_d), strict=True):
            (group,) = model.optimisers[name].param_groups
            assert group["lr"] == pytest.approx(c * 5e-3) and group["betas"] == (0.0, pytest.approx(0.99**c))
            assert max(int(state["step"]) for state in model.optimisers[name].state.values()) == count
    assert both.path_mean > 0 == plain.path_mean


def test_a_lazy_penalty_is_weighted_by_its_interval(make_shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = make_shapes((4, 4)).tensors()
    model = built(r1=0.5, r1_every=3, path_length=2.0, path_length_every=4)
    losses = dict[str, float]()
    monkeypatch.setattr(model, "update", lambda name, loss: losses.update({name: float(loss.detach())}))
    gradients = float(model._penalise_gradients(images.float() / 127.5 - 1, labels))
    assert losses["d"] == pytest.approx(0.5 * 3 * gradients) and gradients > 0
    mean = float(model._penalise_paths(4))
    assert losses["g"] > 0 and float(model.path_mean) == pytest.approx(0.01 * mean, rel=1e-5)
