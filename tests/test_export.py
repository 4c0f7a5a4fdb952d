"""Exported models: read without augpipe, they give what the model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import few_images_for_statistics, fresh, tiny

from augpipe import serving
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.calibration import calibrated
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.core.store import Store
from augpipe.export import ABOUT, check_export, export
from augpipe.generators import families
from augpipe.generators.protocol import Problem

# What this command still writes for programs that load it.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def train():
    from shapes import shapes

    return shapes((6, 6, 6))


def checkpoint(kind: str, train, here, place: Path) -> dict[str, Any]:
    model = fresh(kind, train, here)
    with few_images_for_statistics():
        model.sample(torch.zeros(1, dtype=torch.int64), torch.Generator())
    learned = Store(place / "store").put_images(train)
    return families.pack(tiny(kind), Problem(train.spec, train.classes), 0, learned, model.state_dict())


def test_a_classifier_as_torchscript(train, here, tmp_path: Path) -> None:
    """With a plane for the origin and a temperature; at another batch size than that of the export."""
    options = ClassifierOptions(width=0.25, steps=2, batch=8, evaluations=1)
    mixture = Mixture(train, None, Mix(origin_flag=True), here, seed=0)
    trained = classification.train(mixture, train, options, here, seed=0)
    image = ImageOptions(size=16, channels=1).model_dump(mode="json")
    bundle = {"classes": list(train.classes), "image": image, "temperature": 1.7}
    model = serving.ServedClassifier(trained_classifier.state_of(trained, options), bundle)
    about = export(model, "torchscript", tmp_path / "model.pt")
    extra = {ABOUT: ""}
    script = torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    assert json.loads(extra[ABOUT]) == about and about["classes"] == list(train.classes)
    images = np.array(train.images[:7])
    with torch.no_grad():
        found = script(torch.from_numpy(images)).numpy()
    plain = trained_classifier.predict(trained, train.take(np.arange(7)), here)  # float32, as exported
    assert found == pytest.approx(calibrated(plain, 1.7), abs=1e-5)


@pytest.mark.parametrize(
    ("form", "kind"), [("torch-export", "cgan"), ("torchscript", "acgan"), ("torchscript", "dcgan")]
)
def test_a_generator(form, kind: str, train, here, tmp_path: Path) -> None:
    """Latents drawn as the file says give the images that the model draws from the same random numbers."""
    packed = checkpoint(kind, train, here, tmp_path)
    model = serving.ServedGenerator(packed, train)
    file = tmp_path / ("model.pt2" if form == "torch-export" else "model.pt")
    about = export(model, form, file)
    law, _, length = about["inputs"]["latents"]
    labels, rng = torch.tensor([0, 1, 2, 1]), torch.Generator().manual_seed(3)
    uniform = law == "float32, U(-1,1)"
    latents = torch.rand(4, length, generator=rng) * 2 - 1 if uniform else torch.randn(4, length, generator=rng)
    load = torch.jit.load if form == "torchscript" else lambda path: torch.export.load(path).module()
    with torch.no_grad():
        images = load(str(file))(latents, labels).numpy()
    loaded, _ = families.unpack(packed, here, lambda sha256: train)  # float32, as exported
    expected = loaded.sample(labels, torch.Generator().manual_seed(3)).numpy()
    assert images.dtype == np.uint8 and np.abs(images.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("smote", "not those of one network"),
        ("bagan", "depend on the class"),
        ("progan", "more than its network"),
        ("dcgan, per class", "not those of one network"),
    ],
)
def test_what_cannot_be_exported(kind: str, reason: str, train, here, tmp_path: Path) -> None:
    model = fresh(kind, train, here)

    class Served(serving.ServedGenerator):
        def __init__(self) -> None:
            self._generator, self.kind, self.classes = model, kind, train.classes

    with pytest.raises(UserError, match=f"of kind {kind} cannot be exported.*{reason}"):
        export(Served(), "torchscript", tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.pt").touch()
    with pytest.raises(UserError, match="exists; choose another --out"):
        check_export(tmp_path / "there.pt", "torchscript")
    with pytest.raises(UserError, match=r"must be a \.pt2 file for torch-export"):
        check_export(tmp_path / "there.pt", "torch-export")
