"""Networks that learned elsewhere; their weights are random and written by the tests under the published names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import get_model, get_model_weights, list_models, resnet18
from torchvision.transforms import functional as F

from augpipe.core.errors import UserError
from augpipe.core.home import weights_folder
from augpipe.core.images import ImageSet, provenance
from augpipe.core.schema import explain
from augpipe.synthetic.embeddings import FeatureExtractor
from augpipe.synthetic.extractors import INCEPTION_WEIGHTS, extractor
from augpipe.synthetic.options import FidelityOptions

RESNET = "resnet18-f37072fd.pth"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def pictures(n: int, side: int = 40, channels: int = 3, seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)
    return ImageSet(pixels, np.zeros(n, np.int64), ("a",), provenance([str(i) for i in range(n)]))


def save(state: dict[str, torch.Tensor], name: str) -> Path:
    weights_folder().mkdir(parents=True, exist_ok=True)
    torch.save(state, weights_folder() / name)
    return weights_folder() / name


def published(model: str) -> str:
    return Path(get_model_weights(model).DEFAULT.url).name


def random_model(model: str, seed: int = 0, **kwargs) -> nn.Module:
    torch.manual_seed(seed)
    net = get_model(model, weights=None, **kwargs)
    # Running statistics of an untrained net say nothing: others, so that a mix-up shows.
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "domian",
            "unknown features 'domian' (did you mean 'domain'?); choose from domain, inception, torchvision:MODEL",
        ),
        ("resnet18", "unknown features 'resnet18'"),
        ("torchvision:resnet81", "did you mean 'resnet18'?"),
        ("torchvision:", "unknown torchvision model"),
        ("torchvision:ResNet18_Weights", "unknown torchvision model"),
    ],
)
def test_unknown_features_are_refused_with_those_there_are(name: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        FidelityOptions(features=name)
    line = explain(refused.value)
    # Of more than twenty choices those that are near are shown.
    assert said in line and ("choose from " in line or "the closest of " in line)
    assert "\n" not in line


@pytest.mark.parametrize("name", ["domain", "inception", "torchvision:vit_b_16"])
def test_known_features_are_taken(name: str) -> None:
    assert FidelityOptions(features=name).features == name


def test_the_domain_needs_no_other_network(here) -> None:
    assert extractor("domain", here) is None


def by_hand(net: nn.Module, images: ImageSet) -> np.ndarray:
    """ResNet's features of pictures that are prepared as torchvision's weights say (256, of it 224, normalised)."""
    batch = torch.from_numpy(images.images)
    batch = batch.expand(-1, 3, -1, -1)
    batch = F.resize(batch, [256], antialias=True)
    batch = F.center_crop(batch, [224]).float() / 255
    batch = F.normalize(batch, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    caught = []
    hook = net.avgpool.register_forward_hook(lambda *given: caught.append(given[2].flatten(1)))
    with torch.no_grad():
        net(batch)
    hook.remove()
    return caught[0].numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_resnet_gives_its_penultimate_features(here, channels: int) -> None:
    net = random_model("resnet18")
    save(net.state_dict(), RESNET)
    images = pictures(5, channels=channels)
    found = extractor("torchvision:resnet18", here).vectors(images)
    assert found.shape == (5, 512) and found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(net, images), rtol=1e-3, atol=1e-5)


def test_batches_make_no_difference(here, monkeypatch) -> None:
    save(resnet18().state_dict(), RESNET)
    look, images = extractor("torchvision:resnet18", here), pictures(7, 20)
    whole = look.vectors(images)
    monkeypatch.setattr("augpipe.synthetic.extractors.AT_ONCE", 3)
    np.testing.assert_allclose(look.vectors(images), whole, rtol=1e-4, atol=1e-6)


def test_other_weights_are_another_network(here, make_shapes) -> None:
    digests = []
    for seed in (0, 1, 0):
        save(random_model("resnet18", seed).state_dict(), RESNET)
        digests.append(extractor("torchvision:resnet18", here).digest)
    assert digests[0] == digests[2] != digests[1]


def test_inception_gives_the_2048_features_of_the_ported_network(here) -> None:
    """Its constructor wants weights: those of a twin whose parts are made by hand."""
    torch.manual_seed(0)
    path = weights_folder() / INCEPTION_WEIGHTS
    path.parent.mkdir(parents=True)
    save_inception(path)
    own = FeatureExtractorInceptionV3("own", ["2048"], feature_extractor_weights_path=str(path))
    for channels in (1, 3):
        images = pictures(3, channels=channels)
        with torch.no_grad():
            expected = own(torch.from_numpy(images.images).expand(-1, 3, -1, -1))[0]
        found = extractor("inception", here).vectors(images)
        assert found.shape == (3, 2048)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-5)


class Unfilled(FeatureExtractorInceptionV3):
    """The network before its weights are read."""

    def load_state_dict(self, state_dict, *args, **kwargs):
        return None


def save_inception(path: Path) -> None:
    torch.save({}, path)
    net = Unfilled("unfilled", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(net.state_dict(), path)


@pytest.mark.parametrize(("name", "file"), [("torchvision:resnet18", RESNET), ("inception", INCEPTION_WEIGHTS)])
def test_without_weights_and_network_one_line_says_what_to_put_where(here, name: str, file: str, monkeypatch) -> None:
    # Where there is a network, there is none for this test: nothing listens on port 9.
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    before, begun = torch.hub.get_dir(), time.perf_counter()
    with pytest.raises(UserError) as refused:
        extractor(name, here)
    assert time.perf_counter() - begun < 20
    line = str(refused.value)
    assert file in line and str(weights_folder()) in line and "domain" in line and "\n" not in line
    assert torch.hub.get_dir() == before
    assert not list(weights_folder().iterdir())


def garbage(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    torch.save(resnet18().state_dict(), path)
    path.write_bytes(path.read_bytes()[:1_000_000])


def of_another(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def no_state(path: Path) -> None:
    torch.save([1, 2], path)


@pytest.mark.parametrize("spoil", [garbage, nothing, cut_short, of_another, no_state])
@pytest.mark.parametrize(("name", "file"), [("torchvision:resnet18", RESNET), ("inception", INCEPTION_WEIGHTS)])
def test_a_spoilt_file_of_weights_is_named(here, name: str, file: str, spoil: Callable[[Path], None]) -> None:
    weights_folder().mkdir(parents=True)
    spoil(weights_folder() / file)
    with pytest.raises(UserError) as refused:
        extractor(name, here)
    line = str(refused.value)
    assert str(weights_folder() / file) in line and "\n" not in line


FAMILIES = (
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
)


@pytest.mark.parametrize("model", FAMILIES)
def test_each_family_of_torchvision_gives_features(here, model: str) -> None:
    """A row an image, and not the 1000 classes'."""
    save(random_model(model).state_dict(), published(model))
    found = extractor(f"torchvision:{model}", here).vectors(pictures(2, 28, channels=1))
    assert len(found) == 2 and found.ndim == 2 and found.shape[1] != 1000
    assert np.isfinite(found).all() and not np.array_equal(found[0], found[1])


def test_densenets_published_names_are_understood(here) -> None:
    """Its files are older than torchvision's names: `norm.1.weight` for `norm1.weight`, no counts of batches."""
    state = random_model("densenet121").state_dict()
    old = {
        re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    save(old, published("densenet121"))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(weights_folder().parent))
    get_model("densenet121", weights="DEFAULT")  # torchvision itself understands them
    torch.hub.set_dir(before)
    assert extractor("torchvision:densenet121", here).vectors(pictures(2)).shape == (2, 1024)


@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_networks_of_other_inputs_see_what_their_weights_were_trained_on(here, model: str) -> None:
    """With published weights torchvision sets `transform_input`:
    theirs were trained on [-1,1], not by ImageNet's mean.
    """
    net = random_model(model, init_weights=False)
    ready, images = get_model_weights(model).DEFAULT.transforms(), pictures(4, 80)
    prepared = ready(torch.from_numpy(images.images))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1  # norms of what it sees, or nothing of the input would come through
    with torch.no_grad():
        net.train()(prepared)
    save(net.state_dict(), published(model))
    theirs = get_model(model, weights=None, init_weights=False, transform_input=True)
    theirs.load_state_dict(net.state_dict())
    theirs.fc = nn.Identity()
    with torch.no_grad():
        expected = theirs.eval()(prepared).numpy()
    found = extractor(f"torchvision:{model}", here).vectors(images)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    "model", ["raft_small", "r3d_18", "fasterrcnn_mobilenet_v3_large_fpn", "lraspp_mobilenet_v3_large"]
)
def test_models_that_do_not_classify_images_are_refused_by_name(model: str) -> None:
    assert model in list_models()
    with pytest.raises(ValidationError, match="torchvision"):
        FidelityOptions(features=f"torchvision:{model}")


def test_eyes_see_through_another_network(here, make_shapes, tmp_path: Path) -> None:
    from embeddings import untrained

    from augpipe.core.store import Store

    net = random_model("resnet18")
    save(net.state_dict(), RESNET)
    images = make_shapes((3, 2))
    look = FeatureExtractor(untrained(here), here, extractor("torchvision:resnet18", here), Store(tmp_path / "s"))
    found = look.embed(images)
    np.testing.assert_allclose(found.vectors, by_hand(net, images), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(look.embed(images).vectors, found.vectors)
    assert found.probabilities.shape == (5, 2)
