from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import get_model, get_model_weights

from augpipe.classifiers import models as classifiers_module
from augpipe.classifiers.models import CosineLinear, Shape, build, classifiers, start
from augpipe.classifiers.options import UNNORMED, WITH_WIDTH, ClassifierOptions
from augpipe.core.errors import UserError


@pytest.mark.parametrize("kind", list(classifiers))
@pytest.mark.parametrize("size", [16, 28])  # 64: the published weights below
def test_logits_and_features_have_their_shapes(kind: str, size: int) -> None:
    net = build(ClassifierOptions(kind=kind), Shape(3, 7, 0.5), torch.Generator()).eval()
    x = torch.rand(2, 3, size, size)
    assert net(x).shape == (2, 7) and net(x).dtype == torch.float32
    assert torch.allclose(net.head(net.features(x)), net(x), atol=1e-5)


def test_the_small_image_stem_keeps_resolution() -> None:
    net = build(ClassifierOptions(kind="resnet18"), Shape(1, 2, 1.0), torch.Generator())
    assert net.trunk.conv1.stride == (1, 1) and isinstance(net.trunk.maxpool, torch.nn.Identity)


def published(kind: str) -> str:
    return Path(get_model_weights(kind).DEFAULT.url).name


PUBLISHED = [kind for kind in classifiers if kind not in WITH_WIDTH]


@pytest.mark.parametrize(("kind", "counters"), [("resnet18", False), *((kind, True) for kind in PUBLISHED)])
def test_published_weights_see_what_they_saw(kind, counters, tmp_path, monkeypatch) -> None:
    """At the published stride the trunk gives what the model's own head takes, colours and all;
    older files lack counters.
    """
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    torch.manual_seed(0)
    model = get_model(kind, weights=None).eval()
    folder = tmp_path / "weights" / "checkpoints"
    folder.mkdir(parents=True)
    state = {k: v for k, v in model.state_dict().items() if counters or not k.endswith("num_batches_tracked")}
    torch.save(state, folder / published(kind))
    options = ClassifierOptions(kind=kind, pretrained=True)
    pooled = []
    model.avgpool.register_forward_hook(lambda m, i, o: pooled.append(o.flatten(1)))
    colour, grey = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    flag = torch.ones(2, 1, 64, 64)
    with torch.no_grad():
        model(colour)
        model(grey.expand(2, 3, 64, 64))
    # A plane of the origin flag begins without weight.
    for x, planes, expected in (
        (colour, 0, 0),
        (grey, 0, 1),
        (torch.cat([colour, flag], 1), 1, 0),
        (torch.cat([grey, flag], 1), 1, 1),
    ):
        shape = Shape(x.shape[1], 5, 1.0, pretrained=True)
        net = start(options, shape, torch.Generator().manual_seed(0), planes).eval()
        stem = next(part for part in net.trunk.modules() if isinstance(part, torch.nn.Conv2d))
        own = next(part for part in model.modules() if isinstance(part, torch.nn.Conv2d))
        stem.stride, stem.padding = own.stride, own.padding
        if hasattr(net.trunk, "maxpool"):
            net.trunk.maxpool = model.maxpool
        with torch.no_grad():
            assert torch.allclose(net.trunk(x), pooled[expected], atol=1e-4), x.shape


def test_a_file_of_another_model_is_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    folder = tmp_path / "weights" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(get_model("resnet34", weights=None).state_dict(), folder / published("resnet50"))
    options = ClassifierOptions(kind="resnet50", pretrained=True)
    with pytest.raises(UserError, match="does not hold the weights of resnet50"):
        start(options, Shape(3, 2, 1.0, pretrained=True), torch.Generator())


def test_images_too_small_for_a_classifier_are_told_before_training() -> None:
    classifiers_module.check(ClassifierOptions(kind="convnext_tiny"), 1, 2, 16)
    with pytest.raises(UserError, match="classifier convnext_tiny cannot take images of 8 pixels"):
        classifiers_module.check(ClassifierOptions(kind="convnext_tiny"), 1, 2, 8)
    classifiers_module.check(ClassifierOptions(), 3, 2, 8)


@pytest.mark.parametrize("kind", list(classifiers))
def test_which_have_batch_norms(kind: str) -> None:
    net = build(ClassifierOptions(kind=kind), Shape(1, 2, 0.5), torch.Generator())
    norms = any(isinstance(part, torch.nn.BatchNorm2d) for part in net.modules())
    assert norms == (kind not in UNNORMED)


def test_pretrained_is_refused_where_nothing_is_published() -> None:
    for kind in ("small_cnn", "resnet32"):
        with pytest.raises(ValueError, match=f"no published weights of {kind}; choose from resnet18"):
            ClassifierOptions(kind=kind, pretrained=True)


def test_weights_that_cannot_be_had_are_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    folder = tmp_path / "weights" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / published("resnet18")).write_bytes(b"no weights")
    options = ClassifierOptions(kind="resnet18", pretrained=True)
    with pytest.raises(UserError, match="does not hold the weights of resnet18"):
        start(options, Shape(1, 2, 1.0, pretrained=True), torch.Generator())


def test_resnet32_has_the_papers_size() -> None:
    """0.46 million weights (He et al. 2016, table 6); its shortcuts have none."""
    net = build(ClassifierOptions(kind="resnet32"), Shape(3, 10, 1.0), torch.Generator())
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.46e6, rel=0.02)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == 32  # and the head
    assert all(m.kernel_size == (3, 3) for m in convolutions)


def test_a_cosine_head_is_the_angle() -> None:
    head = CosineLinear(3, 2, 30.0)
    head.weight.data = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    found = head(torch.tensor([[5.0, 0.0, 0.0]]))
    assert found[0].tolist() == pytest.approx([30.0, 30.0 / 2**0.5])


def test_arms_of_a_seed_share_weights_whatever_their_head() -> None:
    linear, cosine = (
        build(ClassifierOptions(), Shape(1, 4, 0.5, scale), torch.Generator().manual_seed(0)) for scale in (None, 30.0)
    )
    for name, value in cosine.named_parameters():
        assert torch.equal(value, dict(linear.named_parameters())[name]), name


def test_unknown_kind_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="unknown classifier 'vgg'; choose from small_cnn, resnet32, resnet18"):
        ClassifierOptions(kind="vgg")


@pytest.mark.parametrize("kind", list(classifiers))
@pytest.mark.parametrize("scale", [None, 30.0])
def test_with_the_origin_flag_it_starts_as_without(kind: str, scale: float | None) -> None:
    """Arms of a seed are paired: whatever the flag says, the fresh nets answer alike."""
    options = ClassifierOptions(kind=kind)
    x, flag = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)

    def fresh(channels: int, planes: int) -> torch.nn.Module:
        shape = Shape(channels, 4, 0.5, scale)
        return start(options, shape, torch.Generator().manual_seed(5), planes).eval()

    plain, flagged = fresh(3, 0), fresh(4, 1)
    with torch.no_grad():
        assert torch.equal(plain(x), flagged(torch.cat([x, flag], 1)))
    names = dict(plain.named_parameters())
    apart = [n for n, p in flagged.named_parameters() if p.shape != names[n].shape]
    assert len(apart) == 1  # the stem's
    logits = flagged(torch.cat([x, flag], 1))
    logits.square().sum().backward()
    stem = dict(flagged.named_parameters())[apart[0]]
    assert float(stem.grad[:, 3].abs().max()) > 0  # and learns
