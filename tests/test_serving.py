"""Logged models: every form of input, old formats, no store needed, and loading through MLflow."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from contracts import draw, fresh, steps, tiny
from mlflow import MlflowClient, pyfunc
from mlflow.models import Model
from PIL import Image
from tiny import tracking

from augpipe import serving
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.trained import Trained
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.options import ImageOptions
from augpipe.core.refs import Ref
from augpipe.core.store import Store
from augpipe.data.intake import take_in
from augpipe.data.sources import folder
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.pipeline.model_files import NotWrittenError
from flows.tracking.models import classifier_signature, generator_signature, log_model

OPTIONS = ClassifierOptions(width=0.25, steps=4, batch=8, evaluations=1)
DERIVING = ("smote", "dagan", "deepsmote")


@pytest.fixture
def trained(here, make_shapes) -> tuple[Trained, ImageSet]:
    images = make_shapes((8, 8, 8))
    mixture = Mixture(images, None, Mix(origin_flag=True), here, seed=0)
    return classification.train(mixture, images, OPTIONS, here, seed=0), images


def stored(trained: Trained, place: Path) -> Ref:
    return Store(place).put_state("classifiers", trained_classifier.state_of(trained, OPTIONS))


def logged_classifier(trained: tuple[Trained, ImageSet], place: Path, **image: Any) -> serving.ServedClassifier:
    net, images = trained
    state, options = stored(net, place / "store"), ImageOptions(**image)
    serving.write_classifier(place / "model", state.path, images.classes, images.spec, options)
    shutil.rmtree(place / "store")
    served = serving._load_pyfunc(str(place / "model"))
    assert isinstance(served, serving.ServedClassifier)
    return served


def packed(family: str, place: Path, train: ImageSet, here: Any) -> tuple[Any, Ref, Ref]:
    """A trained generator, its checkpoint and its training set, both stored in `place`."""
    store, generator = Store(place), fresh(family, train, here)
    steps(generator, train, 1)
    learned = store.put_images(train)
    problem = Problem(train.spec, train.classes)
    state = families.pack(tiny(family), problem, 0, learned, generator.state_dict())
    return generator, store.put_state("generators", state), learned


def test_an_old_classifier_gives_the_array_it_gave(here, trained, tmp_path) -> None:
    net, images = trained
    served = serving._load_pyfunc(str(stored(net, tmp_path).path))
    found = served.predict(images.images)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    # Served at this machine's own precision.
    assert np.allclose(found, trained_classifier.predict(net, images, here), atol=0.02)


def test_a_classifier_names_labels_and_probabilities(here, trained, tmp_path) -> None:
    net, images = trained
    found = logged_classifier(trained, tmp_path).predict(images.images)
    names = ["probability_c0", "probability_c1", "probability_c2"]
    assert list(found.columns) == ["label", *names]
    expected = trained_classifier.predict(net, images, here)
    assert np.allclose(found[names], expected, atol=0.02)
    assert found.label.tolist() == [f"c{c}" for c in found[names].to_numpy().argmax(1)]


def test_the_bundle_holds_names_image_options_and_versions(trained, tmp_path) -> None:
    logged_classifier(trained, tmp_path, resize="crop", window=(0.0, 900.0))
    told = json.loads((tmp_path / "model" / "classifier.json").read_text())
    image = {"size": 16, "channels": 1, "resize": "crop", "window": [0.0, 900.0]}
    assert told["classes"] == ["c0", "c1", "c2"] and told["image"] == image
    assert set(told["versions"]) == {"augpipe", "torch"}
    for file in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_files_arrays_and_tables_of_a_picture_give_the_same(trained, tmp_path) -> None:
    """All forms: tests/data/test_picture_inputs.py."""
    served, pixels = logged_classifier(trained, tmp_path), trained[1].images[[0, 9, 23]]
    expected = served.predict(pixels)
    paths = [tmp_path / f"{at}.png" for at in range(3)]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one[0]).save(path)
    colour = np.repeat(pixels, 3, axis=1)
    for form in (pixels[:, 0], colour, paths, pd.DataFrame({"id": [1, 2, 3], "image": list(pixels)})):
        pd.testing.assert_frame_equal(served.predict(form), expected)
    assert len(served.predict([])) == 0 and len(served.predict(pixels[:0])) == 0
    pd.testing.assert_frame_equal(served.predict(str(paths[0])), expected[:1])


@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
def test_a_training_picture_gets_the_pixels_of_intake(resize, trained, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for at, shape in enumerate([(40, 31, 3), (16, 16, 3), (9, 50, 3), (64, 64, 3)]):
        place = tmp_path / "source" / "ab"[at % 2] / f"{at}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(place)
    listing = folder.listing(folder.Config(kind="folder", path=tmp_path / "source"))
    options = ImageOptions(size=16, channels=1, resize=resize)
    taken = take_in(listing, options, folder=tmp_path / "taken")
    assert taken.images is not None
    served = logged_classifier(trained, tmp_path, resize=resize)
    files = [tmp_path / "source" / name for name in taken.ids]
    pd.testing.assert_frame_equal(served.predict(files), served.predict(taken.images))
    # Arrays of unlike sizes go the same way as files of them.
    loose = [np.asarray(Image.open(file)) for file in files]
    pd.testing.assert_frame_equal(served.predict(loose), served.predict(taken.images))


def test_a_window_is_the_runs(trained, tmp_path) -> None:
    served = logged_classifier(trained, tmp_path, window=(0.0, 1020.0))
    pixels = trained[1].images
    deep = pixels.astype(np.uint16) * 4
    pd.testing.assert_frame_equal(served.predict(deep), served.predict(pixels))


def test_an_unreadable_picture_is_named(trained, tmp_path) -> None:
    served, good = logged_classifier(trained, tmp_path), np.zeros((16, 16), np.uint8)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for bad, message in [
        (str(tmp_path / "broken.png"), r"broken\.png\): not a picture of a supported format"),
        (tmp_path / "gone.png", r"gone\.png\): No such file or directory"),
        (np.full((4, 4), 999), ": values from 999 to 999.*"),
        (np.zeros((4, 4, 7), np.uint8), r": pixels of shape \(4, 4, 7\);.*"),
        (None, ": not a picture: NoneType"),
    ]:
        with pytest.raises(UserError, match=f"^cannot read picture 1(|.*){message}$"):
            served.predict([good, bad])


@pytest.mark.parametrize("family", [*DERIVING, "cgan"])
def test_a_logged_generator_needs_no_store(family, here, make_shapes, tmp_path) -> None:
    train = make_shapes((8, 6))
    generator, checkpoint, learned = packed(family, tmp_path / "store", train, here)
    reference = learned if tiny(family).derives else None
    serving.write_generator(tmp_path / "model", checkpoint.path, reference)
    shutil.rmtree(tmp_path / "store")
    served = serving._load_pyfunc(str(tmp_path / "model"))
    images = served.predict(np.array([0, 1, 1]), {"seed": 5})
    expected = draw(generator, [0, 1, 1], seed=5).numpy()
    # Served at this machine's own precision.
    assert np.abs(images.astype(int) - expected).mean() <= (0 if family == "smote" else 2)
    assert np.array_equal(images, served.predict(np.array([0, 1, 1]), {"seed": 5}))
    assert not np.array_equal(images, served.predict(np.array([0, 1, 1])))
    for file in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_a_generator_with_too_large_a_reference_is_not_logged(here, make_shapes, tmp_path) -> None:
    _, checkpoint, learned = packed("smote", tmp_path, make_shapes((8, 6)), here)
    with pytest.raises(NotWrittenError, match="draws from images that must be part of the model"):
        serving.write_generator(tmp_path / "model", checkpoint.path, learned, limit=1000)
    assert not (tmp_path / "model").exists()


def old_format(place: Path, state: Any) -> Path:
    """A model as earlier versions logged it: the weights alone, and `flows.serving` as the loader."""
    place.mkdir()
    torch.save(state, place / "weights.pt")
    model = Model()
    pyfunc.add_to_model(model, loader_module="flows.serving", data="weights.pt")
    model.save(str(place / "MLmodel"))
    return place


def test_models_of_earlier_versions_load(here, trained, make_shapes, tmp_path) -> None:
    net, images = trained
    old = old_format(tmp_path / "c", trained_classifier.state_of(net, OPTIONS))
    found = pyfunc.load_model(str(old)).predict(images.images)
    assert np.allclose(found, trained_classifier.predict(net, images, here), atol=0.02)
    train = make_shapes((8, 6))
    generator, checkpoint, learned = packed("smote", tmp_path / "store", train, here)
    state = torch.load(checkpoint.path, weights_only=True)
    state["train"] = {"path": str(learned.path), "sha256": learned.sha256}
    served = pyfunc.load_model(str(old_format(tmp_path / "g", state)))
    assert np.array_equal(served.predict(np.array([0, 1])), draw(generator, [0, 1]).numpy())
    shutil.rmtree(learned.path)
    with pytest.raises(UserError, match="smote derives images from its training set"):
        pyfunc.load_model(str(tmp_path / "g"))


def test_models_go_through_mlflow(here, trained, make_shapes, tmp_path, monkeypatch) -> None:
    net, images = trained
    client = MlflowClient(tracking(tmp_path))
    experiment = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    state = stored(net, tmp_path / "store")

    def write(folder: Path) -> None:
        serving.write_classifier(folder, state.path, images.classes, images.spec, ImageOptions())

    signature = classifier_signature(images.classes)
    logged = log_model(client, client.create_run(experiment), "classifier", write, signature)
    place = client.get_logged_model(logged.model).artifact_location
    served = pyfunc.load_model(place)
    found = served.predict(images.images)
    assert served.metadata.signature.outputs.input_names() == list(found.columns)
    buffer = io.BytesIO()
    Image.fromarray(images.images[0, 0]).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    for form in ([text], pd.DataFrame({"image": [text]}), [images.images[0]]):
        pd.testing.assert_frame_equal(served.predict(form), found[:1])

    generator, checkpoint, learned = packed("smote", tmp_path / "store", make_shapes((8, 6)), here)

    def refuse(folder: Path) -> None:
        serving.write_generator(folder, checkpoint.path, learned, limit=1)

    def allow(folder: Path) -> None:
        serving.write_generator(folder, checkpoint.path, learned)

    signature = generator_signature(images.spec.shape)
    with pytest.raises(NotWrittenError):
        log_model(client, client.create_run(experiment), "generator", refuse, signature)
    assert [one.name for one in client.search_logged_models([experiment])] == ["classifier"]
    logged = log_model(client, client.create_run(experiment), "generator", allow, signature)
    served = pyfunc.load_model(client.get_logged_model(logged.model).artifact_location)
    expected = draw(generator, [0, 1], seed=5).numpy()
    assert np.array_equal(served.predict(np.array([0, 1]), {"seed": 5}), expected)
    none = np.array([], np.int64)
    assert np.array_equal(served.predict(none, {"seed": 5, "counts": "1"}), expected)  # of every class
    with pytest.raises(UserError, match="counts and 2 labels were given"):
        served.predict(np.array([0, 1]), {"counts": "1"})
    with pytest.raises(UserError, match="unknown class 'x'"):
        served.predict(none, {"counts": "x=1"})
