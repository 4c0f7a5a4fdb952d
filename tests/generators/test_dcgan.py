from __future__ import annotations

import torch
from contracts import steps, tiny

from augpipe.core.image_spec import ImageSpec
from augpipe.generators import families
from augpipe.generators.models import dcgan
from augpipe.generators.protocol import Problem


def test_topology_at_64_px_is_the_papers() -> None:
    problem = Problem(ImageSpec(64, 3), ("all",))
    config = dcgan.Config(kind="dcgan", width=64)
    up = [m for m in dcgan.GeneratorNet(config, problem).up if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in up] == [(512, 256), (256, 128), (128, 64), (64, 3)]
    down = [m for m in dcgan.DiscriminatorNet(config, problem).trunk if isinstance(m, torch.nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in down] == [(3, 64), (64, 128), (128, 256), (256, 512)]
    assert {(m.kernel_size, m.stride) for m in [*up, *down]} == {((4, 4), (2, 2))}


def test_one_class_needs_no_label() -> None:
    one, two = (Problem(ImageSpec(16, 1), names) for names in (("a",), ("a", "b")))
    config = tiny("dcgan")
    assert dcgan.GeneratorNet(config, one).embedding is None
    assert dcgan.GeneratorNet(config, two).embedding is not None


def test_classical_augmentation_is_of_reals_alone(here, make_shapes, monkeypatch) -> None:
    """As Frid-Adar et al. trained each class's model; unlike DiffAugment, fakes are left as they are."""
    seen: list[tuple[tuple[str, ...], int]] = []
    monkeypatch.setattr(dcgan, "diff_augment", lambda x, names, rng: seen.append((tuple(names), len(x))) or x)
    train = make_shapes((9, 9))
    config = tiny("dcgan", classic=("affine",))
    generator = families.build(config, Problem(train.spec, train.classes), here, 0)
    generator.prepare(train)
    steps(generator, train, 3)
    assert seen == [(("affine",), 8)] * 3


def test_labels_count_by_projection() -> None:
    problem = Problem(ImageSpec(16, 1), ("a", "b", "c"))
    d = dcgan.DiscriminatorNet(tiny("dcgan"), problem).eval()
    x, labels = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    assert d.embedding is not None
    h = d.trunk(x).flatten(1)
    likeness = (d.embedding.weight[labels] * h).sum(1) / h.shape[1] ** 0.5
    assert torch.allclose(d(x, labels).score, d.last(h).squeeze(1) + likeness, atol=1e-5)
