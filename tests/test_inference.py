"""Models from files: which file, how many images of which class, the same images as the generator's own."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import fresh, steps, tiny
from PIL import Image

from augpipe import inference, serving
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core import device as runtime
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.machine import cores
from augpipe.core.options import ImageOptions
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store, load_state
from augpipe.data.unlabelled import pictures_of
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.pipeline import model_files
from augpipe.pipeline.model_places import head_of
from augpipe.synthetic.draw import draw


@pytest.mark.parametrize("family", ["cgan", "smote", "dagan"])
def test_images_are_those_of_the_generator_and_know_their_parents(
    family: str, here: Any, make_shapes: Any, tmp_path: Path
) -> None:
    train: ImageSet = make_shapes((8, 8, 8))
    store, generator = Store(tmp_path / "store"), fresh(family, train, here)
    steps(generator, train, 1)
    learned = store.put_images(train)
    problem = Problem(train.spec, train.classes)
    checkpoint = store.put_state("generators", families.pack(tiny(family), problem, 0, learned, generator.state_dict()))
    reference = learned if tiny(family).derives else None
    content = model_files.generator_file(checkpoint, reference, train.spec, ImageOptions())
    model_files.write(content, tmp_path / "model.pt")
    head = head_of(tmp_path / "model.pt")
    assert head["augpipe"] == "generator" and head["classes"] == list(train.classes)
    served = inference.load_generator(tmp_path / "model.pt")
    with inference.drawn(served, {2: 3, 0: 2}, seed=5) as (images, short):
        drawn = images.take(np.arange(len(images)))
    assert not short
    # At this machine's own precision, as models are served.
    loaded, _ = families.unpack(load_state(checkpoint), runtime.start(threads=cores()), store.images)
    expected = draw(loaded, torch.tensor([0, 0, 2, 2, 2]), torch_stream(5, "synthesis"))
    assert np.array_equal(drawn.images, expected.images.numpy())
    assert drawn.labels.tolist() == [0, 0, 2, 2, 2] and drawn.classes == train.classes
    parents = ["" if row < 0 else train.table["id"][row] for row in expected.parents.tolist()]
    assert drawn.table["parent"].tolist() == parents
    assert any(parents) == (reference is not None)
    assert inference.origin(served, tmp_path / "model.pt", 5).checkpoint == checkpoint.sha256


def classifier_file(here: Any, train: ImageSet, place: Path, temperature: float) -> Any:
    options = ClassifierOptions(width=0.25, steps=4, batch=8, evaluations=1)
    trained = classification.train(Mixture(train, None, Mix(), here, seed=0), train, options, here, seed=0)
    state = Store(place / "store").put_state("c", trained_classifier.state_of(trained, options))
    model_files.write(
        model_files.classifier_file(state, train.classes, train.spec, ImageOptions(), temperature),
        place / "classifier.pt",
    )
    return trained_classifier.predict(trained, train, here)


def test_predictions_are_calibrated_and_name_what_cannot_be_read(here: Any, make_shapes: Any, tmp_path: Path) -> None:
    train: ImageSet = make_shapes((4, 4, 4))
    plain = classifier_file(here, train, tmp_path, 3.0)
    folder = tmp_path / "new" / "deeper"
    folder.mkdir(parents=True)
    for at in (0, 5):
        Image.fromarray(train.images[at, 0]).save(folder / f"{at}.png")
    (folder / "1.png").write_bytes(b"no picture")
    Image.fromarray(train.images[0, 0].astype(np.uint16) * 9).save(folder / "deep.png")
    model = inference.load_classifier(tmp_path / "classifier.pt")
    (rows,) = inference.predict(model, [pictures_of(tmp_path / "new")])
    assert rows.id.tolist() == [f"{folder}/{at}.png" for at in (0, 1, 5, "deep")]
    assert rows.problem.tolist()[:3:2] == ["", ""] and rows.problem[1]
    # Nobody can set a window here: it is the model's.
    assert rows.problem[3].endswith(
        "of more than 8 bits, and the model was trained without image.window, on pictures of 8 bits: convert the "
        "picture as those were"
    )
    assert rows.predicted.isna().tolist() == [False, True, False, True]
    got = rows.filter(like="probability_").to_numpy()[[0, 2]]
    power = plain[[0, 5]] ** (1 / 3)  # softmax(z / T) of softmax(z)
    np.testing.assert_allclose(got, power / power.sum(1, keepdims=True), atol=0.02)


def test_a_file_that_is_no_model_or_another_kind_is_refused(here: Any, make_shapes: Any, tmp_path: Path) -> None:
    classifier_file(here, make_shapes((4, 4, 4)), tmp_path, 1.0)
    with pytest.raises(UserError, match=r"is a classifier; .* needs a generator"):
        inference.load_generator(tmp_path / "classifier.pt")
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"x": 1}, tmp_path / "other.pt")
    torch.save({"x": Path("code")}, tmp_path / "pickle.pt")
    for name in ("text.pt", "list.pt", "other.pt", "pickle.pt"):
        with pytest.raises(UserError, match=f"{name} is not a model of augpipe"):
            serving.load(tmp_path / name)
    folder = tmp_path / "foreign"
    folder.mkdir()
    (tmp_path / "other.pt").rename(folder / "weights.pt")
    with pytest.raises(UserError, match="foreign is not a model of augpipe"):
        serving.load(folder)
    state = torch.load(tmp_path / "classifier.pt", weights_only=True)["state"]
    torch.save(state, folder / "weights.pt")
    for broken in ("{", "[]", '{"classes": ["a"]}', '{"classes": ["a"], "image": {"size": "x"}}'):
        (folder / "classifier.json").write_text(broken)
        with pytest.raises(UserError, match=r"cannot read .*classifier.json: "):
            serving.load(folder)


def test_a_damaged_model_is_refused(here: Any, make_shapes: Any, tmp_path: Path) -> None:
    """torch reads other weights without a word; the sums are in the file."""
    classifier_file(here, make_shapes((4, 4, 4)), tmp_path, 1.0)
    path = tmp_path / "classifier.pt"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as parts:
        weights = parts.read(max(parts.infolist(), key=lambda part: part.file_size))
    content[content.index(weights[:64]) + 8] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"classifier\.pt is damaged: the checksum of its part"):
        serving.load(path)
