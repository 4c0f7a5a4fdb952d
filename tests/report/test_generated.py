"""Images drawn from a generator, read back by others' readers and our own sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import TypeAdapter
from readers import image_folder, shard_samples
from torchvision.datasets import ImageFolder

from augpipe.core import marks
from augpipe.core.csv_files import exact
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet, provenance
from augpipe.core.options import ImageOptions
from augpipe.data.intake import take_in
from augpipe.data.sources import Source, listing, suggest
from augpipe.report.class_folders import folder_names
from augpipe.report.forms import FORMS, Origin
from augpipe.report.generated import write_generated

CLASSES = ("=1+1", "b/c", "größe")
ORIGIN = Origin("cgan", "ab" * 32, 7)


def images(channels: int) -> ImageSet:
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 2, 2, 2])
    ids = [f"cgan/7/{row}" for row in range(6)]
    table = provenance(ids, origin="synthetic", parents=["p1", "", "", "", "", "p2"])
    return ImageSet(rng.integers(0, 256, (6, channels, 8, 8), np.uint8), labels, CLASSES, table)


def as_drawn(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def test_class_folders_are_read_by_torchvision(tmp_path: Path) -> None:
    drawn = images(3)
    write_generated(drawn, ORIGIN, tmp_path / "out", "folder")
    read = ImageFolder(tmp_path / "out")
    assert len(read) == 6 and len(read.classes) == 3
    by_file = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False).set_index("file")
    for path, _ in read.samples:
        name = Path(path).relative_to(tmp_path / "out").as_posix()
        row = by_file.loc[name if name in by_file.index else f"./{name}"]
        at = int(row["id"].rpartition("/")[2])
        with Image.open(path) as picture:
            assert np.array_equal(as_drawn(picture), drawn.images[at])
            assert marks.is_synthetic(picture.info)
        assert row.parent == ("p1" if at == 0 else "p2" if at == 5 else "")
        assert (row.generator, row.checkpoint, row.seed) == ("cgan", "ab" * 32, 7)


@pytest.mark.parametrize(("form", "file"), [("npz", "images.npz"), ("webdataset", "images-000000.tar"), ("hf", "")])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_forms_are_read_by_our_sources(tmp_path: Path, form: str, file: str, channels: int) -> None:
    drawn = images(channels)
    write_generated(drawn, ORIGIN, tmp_path / "out", form)
    listed = listing(TypeAdapter(Source).validate_python(suggest(tmp_path / "out" / file)))
    intake = take_in(listed, ImageOptions(size=8, channels=channels), folder=tmp_path / "store")
    assert intake.images is not None and len(intake.images) == 6
    assert not intake.bad
    names = [intake.listing.classes[label] for label in intake.labels]
    read = sorted((name, image.tobytes()) for name, image in zip(names, intake.images, strict=True))
    names_of = {"npz": CLASSES, "webdataset": "012", "hf": folder_names(CLASSES)}[form]
    expected = [(names_of[c], i.tobytes()) for c, i in zip(drawn.labels, drawn.images, strict=True)]
    assert read == sorted(expected)


def test_a_hugging_face_folder_names_each_file_and_its_label(tmp_path: Path) -> None:
    write_generated(images(1), ORIGIN, tmp_path / "out", "hf")
    rows = image_folder(tmp_path / "out", tmp_path / "cache")
    assert [exact(row["label"]) for row in rows] == [CLASSES[c] for c in images(1).labels]
    for row, pixels in zip(rows, images(1).images, strict=True):
        assert np.array_equal(as_drawn(row["image"]), pixels)


def test_samples_of_a_shard_hold_class_and_lineage(tmp_path: Path) -> None:
    write_generated(images(1), ORIGIN, tmp_path / "out", "webdataset")
    sample = shard_samples(tmp_path / "out" / "images-000000.tar")[5]
    about = sample["json"]
    assert (sample["cls"], about["class"], about["parent"], about["seed"]) == (2, "größe", "p2", 7)
    assert marks.is_synthetic(sample["png"].info)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_give_the_same_bytes(tmp_path: Path, form: str) -> None:
    for name in ("one", "two"):
        write_generated(images(1), ORIGIN, tmp_path / name, form)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'notes.txt'"):
        write_generated(images(1), ORIGIN, tmp_path, "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
