"""Exported models: read without augpipe, they give what the model gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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
from augpipe.core.states import save_state
from augpipe.core.store import Store
from augpipe.export import _exportable, export, export_all
from augpipe.export_formats import ABOUT, LIBRARIES, SUFFIXES
from augpipe.generators import families
from augpipe.generators.preview import check_exported, check_stored_images, check_truncated
from augpipe.generators.protocol import Problem
from augpipe.generators.truncation import truncate

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


def skip_without_libraries(form: str) -> None:
    for name in LIBRARIES.get(form, ()):
        pytest.importorskip(name)


def loaded(file: Path) -> tuple[Callable[..., np.ndarray], dict[str, Any]]:
    """An exported file as other programs load it, as a function of arrays, and what it says about itself."""
    if file.suffix == SUFFIXES["onnx"]:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        about = json.loads(session.get_modelmeta().custom_metadata_map[ABOUT])
        assert names == list(about["inputs"])
        return lambda *arrays: session.run(list(about["outputs"]), dict(zip(names, arrays, strict=True)))[0], about
    extra = {ABOUT: ""}
    if file.suffix == SUFFIXES["torchscript"]:
        module = torch.jit.load(str(file), _extra_files=extra)
    else:
        module = torch.export.load(str(file), extra_files=extra).module()

    @torch.no_grad()
    def call(*arrays: np.ndarray) -> np.ndarray:
        return module(*map(torch.from_numpy, arrays)).numpy()

    return call, json.loads(extra[ABOUT])


@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_a_classifier(form, train, here, tmp_path: Path) -> None:
    """With a plane for the origin and a temperature; at another batch size than that of the export."""
    skip_without_libraries(form)
    options = ClassifierOptions(width=0.25, steps=2, batch=8, evaluations=1)
    mixture = Mixture(train, None, Mix(origin_flag=True), here, seed=0)
    trained = classification.train(mixture, train, options, here, seed=0)
    image = ImageOptions(size=16, channels=1).model_dump(mode="json")
    bundle = {"classes": list(train.classes), "image": image, "temperature": 1.7}
    model = serving.ServedClassifier(trained_classifier.state_of(trained, options), bundle)
    file = tmp_path / f"model{SUFFIXES[form]}"
    about = export(model, form, file)
    call, written = loaded(file)
    assert written == about and about["classes"] == list(train.classes)
    plain = trained_classifier.predict(trained, train.take(np.arange(7)), here)  # float32, as exported
    assert call(np.array(train.images[:7])) == pytest.approx(calibrated(plain, 1.7), abs=1e-5)


@pytest.mark.parametrize(
    ("form", "kind"), [("torch-export", "cgan"), ("torchscript", "acgan"), ("torchscript", "dcgan"), ("onnx", "cgan")]
)
def test_a_generator(form, kind: str, train, here, tmp_path: Path) -> None:
    """Latents drawn as the file says give the images that the model draws from the same random numbers."""
    skip_without_libraries(form)
    packed = checkpoint(kind, train, here, tmp_path)
    model = serving.ServedGenerator(packed, train)
    file = tmp_path / f"model{SUFFIXES[form]}"
    about = export(model, form, file)
    law, _, length = about["inputs"]["latents"]
    labels, rng = torch.tensor([0, 1, 2, 1]), torch.Generator().manual_seed(3)
    uniform = law == "float32, U(-1,1)"
    latents = torch.rand(4, length, generator=rng) * 2 - 1 if uniform else torch.randn(4, length, generator=rng)
    images = loaded(file)[0](latents.numpy(), labels.numpy())
    plain, _ = families.unpack(packed, here, lambda sha256: train)  # float32, as exported
    apart = np.abs(images.astype(int) - plain.sample(labels, torch.Generator().manual_seed(3)).numpy())
    assert images.dtype == np.uint8 and apart.max() <= 1
    assert apart.mean() < 0.02  # 1e-4 of the range, 0.013 levels, before they are rounded


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


OPTIONS = [(kind, {}) for kind in families.names()] + [("cvae", {"draw": draw}) for draw in ("prior", "between")]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_what_a_family_cannot_do_is_known_before_torch_is_imported(kind: str, options, train, here) -> None:
    model, config = fresh(kind, train, here, **options), tiny(kind, **options)
    reason = ""
    try:
        _exportable(model, kind)
    except UserError as error:
        reason = str(error).partition("exported: ")[2]
    assert config.not_exported == reason
    if config.not_exported:
        with pytest.raises(UserError, match=config.not_exported):
            check_exported(config.model_dump(mode="json"))
    refused = ""
    try:
        truncate(model, 0.5, kind)
    except UserError as error:
        refused = str(error)
        with pytest.raises(UserError, match=re.escape(refused)):
            check_truncated(config.model_dump(mode="json"))
    assert bool(config.not_truncated) == bool(refused)


def test_what_options_decide_is_known_before_torch_is_imported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of kind dcgan cannot be exported: its images are not those of one network"):
        check_exported({"kind": "dcgan", "per_class": True})
    with pytest.raises(UserError, match="cvae derives images from its training set"):
        check_stored_images({"kind": "cvae", "draw": "between"}, "0" * 64, tmp_path)
    for draw in ("prior", "class"):  # from latents alone: no stored image is needed
        check_stored_images({"kind": "cvae", "draw": draw}, "0" * 64, tmp_path)


def test_the_models_of_a_run(train, here, tmp_path: Path) -> None:
    """Those that can be exported; the reason for others."""
    (tmp_path / "models").mkdir()
    for kind in ("acgan", "bagan"):
        save_state(checkpoint(kind, train, here, tmp_path), tmp_path / "models" / f"generator-{kind}.pt")
    about = export_all(tmp_path / "models", tmp_path / "exported", "torchscript")
    assert about["generator-acgan.pt"] == {"exported": "exported/generator-acgan.pt"}
    assert "its latents depend on the class" in about["generator-bagan.pt"]["not_exported"]
    assert [path.name for path in (tmp_path / "exported").iterdir()] == ["generator-acgan.pt"]
