"""Models from files: which file, how many images of which class, the same images as the generator's own."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import fresh, steps, tiny
from pictures import noise, save
from PIL import Image
from pydicom.data import get_testdata_file
from shards import numbered, shard

from augpipe import inference, serving
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core import device as runtime
from augpipe.core.counts import parse_counts
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.machine import cores
from augpipe.core.options import ImageOptions
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store, load_state
from augpipe.data.sources._pictures import decode
from augpipe.data.unlabelled import inputs_of, pictures_of
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.pipeline import model_files
from augpipe.pipeline.model_places import head_of, model_file
from augpipe.synthetic.draw import draw

CLASSES = ("0", "a,b", "c=d")


@pytest.mark.parametrize(
    ("texts", "counts"),
    [
        (["0=5"], {0: 5}),
        (["0=5, c=d=2"], {0: 5, 2: 2}),
        (["a,b=3"], {1: 3}),
        (["0=1", "a,b=3"], {0: 1, 1: 3}),
        (["4"], {0: 4, 1: 4, 2: 4}),
    ],
)
def test_counts_name_classes(texts: list[str], counts: dict[int, int]) -> None:
    assert parse_counts(texts, CLASSES) == counts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1=5"], "unknown class '1'.*choose from 0, a,b, c=d"),
        (["0=many"], "'0=many' is not CLASS=NUMBER or a number"),
        (["0=-1"], "'0=-1' is not CLASS=NUMBER"),
        (["0=1,0=2"], "names class '0' twice"),
        (["0=1", "2"], "names class '0' twice"),
        (["0"], "asks for no image"),
        ([""], "'' is not CLASS=NUMBER"),
    ],
)
def test_other_counts_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_counts(texts, CLASSES)


def files(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x")
    return place


def test_a_runs_folder_has_its_classifier_and_generators(tmp_path: Path) -> None:
    run = files(tmp_path, "models/classifier.pt", "models/generator-a.pt", "models/generator-b.pt")
    assert model_file(run, "classifier").name == "classifier.pt"
    assert model_file(run / "models", "classifier").name == "classifier.pt"
    assert model_file(run, "generator", "b").name == "generator-b.pt"
    with pytest.raises(UserError, match="choose one with --generator: a, b"):
        model_file(run, "generator")
    with pytest.raises(UserError, match=r"unknown generator 'x'.*choose from a, b"):
        model_file(run, "generator", "x")


def test_a_training_has_its_checkpoint_and_other_folders_nothing(tmp_path: Path) -> None:
    trained = files(tmp_path / "trained", "checkpoint.pt")
    assert model_file(trained, "generator") == trained / "checkpoint.pt"
    for place, kind in ((trained, "classifier"), (files(tmp_path / "x", "y"), "generator")):
        with pytest.raises(UserError, match=f"holds no {kind}"):
            model_file(place, kind)
    with pytest.raises(UserError, match="no file or folder"):
        model_file(tmp_path / "nowhere", "generator")


def test_reading_what_a_file_says_of_itself_runs_none_of_its_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"augpipe": "generator", "state": Harmful()}))
    assert head_of(tmp_path / "model.pt") == {"augpipe": "generator", "state": None}
    assert not (tmp_path / "run").exists()
    (tmp_path / "model.pt").write_bytes(b"PK\3\4")
    assert head_of(tmp_path / "model.pt") == {} == head_of(tmp_path / "nowhere")


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


def test_pictures_of_a_folder_of_dicom_or_of_another_source(tmp_path: Path) -> None:
    scan = tmp_path / "scans" / "deeper" / "1.dcm"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"\0" * 128 + b"DICM")
    assert pictures_of(tmp_path / "scans").ids == [str(scan)]
    scan.rename(tmp_path / "plain")
    assert pictures_of(tmp_path / "plain").ids == [f"{tmp_path}/plain"]
    shard(tmp_path / "shards" / "x-000000.tar", numbered([0, 1, 0]))
    assert len(pictures_of(tmp_path / "shards").ids) == 3
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:  # whatever the folders are called
        for i in range(4):
            archive.writestr(f"patient{i // 2}/ill/{i}.png", b"")
        archive.writestr("new.png", b"")
    assert len(pictures_of(tmp_path / "x.zip").ids) == 5
    with pytest.raises(UserError, match="no picture below"):
        pictures_of(tmp_path / "scans")


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


def test_new_pictures_in_tables_arrays_and_dicom_need_no_labels(tmp_path: Path) -> None:
    """Nor groups: a column of patients is of no matter here."""
    names = [f"img/{i}.png" for i in range(8)]
    images = noise(0, 8, 8, 8)
    for name, pixels in zip(names, images, strict=True):
        save(tmp_path / name, pixels)
    rows = "".join(f"{i // 2},{name}\n" for i, name in enumerate(names))
    (tmp_path / "new.csv").write_text(f"patient,image\n{rows}0,no.png\n")
    np.save(tmp_path / "new.npy", images)
    np.savez(tmp_path / "new.npz", x_test=images)
    (tmp_path / "scans").mkdir()
    for i in range(4):
        shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "scans" / f"IM{i}")
    ids = {
        "new.csv": names,
        "new.npy": [f"images/{i:06d}" for i in range(8)],
        "new.npz": [f"test/{i:06d}" for i in range(8)],
        "scans": [f"{tmp_path}/scans/IM{i}" for i in range(4)],
    }
    for name, wanted in ids.items():
        pictures = pictures_of(tmp_path / name)
        assert list(pictures.ids) == wanted, name
        blobs = list(pictures.fetch(np.arange(1, 3)))
        assert [decode(blob, "full").pixels.size for blob in blobs] == [(128,) * 2 if name == "scans" else (8, 8)] * 2
        assert [one.id for one in pictures.bad] == ["no.png"] * (name == "new.csv")
    shutil.copy(tmp_path / "new.npy", tmp_path / "other.npy")
    both = inputs_of([tmp_path / "new.npy", tmp_path / "other.npy"])
    assert [one.ids[0] for one in both] == [f"{tmp_path}/{n}.npy/images/000000" for n in ("new", "other")]
    for twice in (["img", "img"], ["img", "img/1.png"], ["new.npy", "new.npy"]):
        with pytest.raises(UserError, match="is given twice; leave it out of one of"):
            inputs_of([tmp_path / name for name in twice])
    single = pictures_of(Path(get_testdata_file("CT_small.dcm")))
    assert len(single.ids) == 1
    (tmp_path / "none.csv").write_text("a,b\nx,y\n")
    with pytest.raises(UserError, match=r"no column of the table .*none\.csv names pictures below"):
        pictures_of(tmp_path / "none.csv")
