"""A balanced set in every form, read back by others' readers:
pixels, labels, lineage, marks of the synthetic images.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from readers import image_folder, shard_samples
from torchvision.datasets import ImageFolder

from augpipe.core import marks
from augpipe.core.store import load_images
from augpipe.data import sources
from augpipe.report.balanced_set import Balanced, publish
from augpipe.report.forms import FORMS
from augpipe.report.out import check_balanced_out

Seen = Iterator[tuple[str, str, np.ndarray, bool]]  # class, id, pixels (H,W[,3]), marked as synthetic


def folder(out: Path) -> Seen:
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False).set_index("file")
    for path, _ in ImageFolder(out).samples:
        row = table.loc[Path(path).relative_to(out).as_posix()]
        with Image.open(path) as picture:
            yield row["class"], row["id"], np.asarray(picture), marks.is_synthetic(picture.info)


def hf(out: Path) -> Seen:
    for row in image_folder(out, out.parent / "cache"):
        yield row["label"], row["id"], np.asarray(row["image"]), marks.is_synthetic(row["image"].info)


def npz(out: Path) -> Seen:
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    with np.load(out / "images.npz") as arrays:
        names = arrays["class_names"]
        rows = zip(table.itertuples(), arrays["train_images"], arrays["train_labels"], strict=True)
        for row, image, label in rows:
            yield str(names[label[0]]), row.id, image, row.origin == "synthetic"


def webdataset(out: Path) -> Seen:
    with tarfile.open(out / "images-000000.tar") as tar:
        assert not any(b"NaN" in tar.extractfile(n).read() for n in tar.getnames() if n.endswith(".json"))
    for sample in shard_samples(out / "images-000000.tar"):
        about = sample["json"]
        assert sample["cls"] == ["cat", "dog", "eel"].index(about["class"])
        yield about["class"], about["id"], np.asarray(sample["png"]), marks.is_synthetic(sample["png"].info)


def dicom(out: Path) -> Seen:
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    for row in table.itertuples():
        data = pydicom.dcmread(out / row.file)
        assert data.PatientID == row.group
        yield data.SeriesDescription, row.id, data.pixel_array, "SyntheticData" in data


READERS = {"folder": folder, "hf": hf, "npz": npz, "webdataset": webdataset, "dicom": dicom}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_set_comes_back(form: str, channels: int, balanced: Callable[..., Balanced], tmp_path: Path) -> None:
    content, out = balanced(channels=channels), tmp_path / "out"
    publish(content, out, form=form)
    read = {name: (label, pixels, marked) for label, name, pixels, marked in READERS[form](out)}
    real, synthetic = load_images(content.prepared.splits.train), load_images(content.made.images)
    assert len(read) == len(real) + len(synthetic)
    for images, is_synthetic in ((real, False), (synthetic, True)):
        rows = zip(images.table["id"], images.labels, images.images, strict=True)
        for name, label, pixels in rows:
            channels_last = pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)
            assert read[name][0] == images.classes[label] and read[name][2] == is_synthetic
            assert np.array_equal(read[name][1], channels_last)
    card = json.loads((out / "card.json").read_text())
    assert card["form"] == form and (out / "card.md").is_file()
    check_balanced_out(out)  # a set may be replaced by another
    files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    publish(content, out, form=form)
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files


def test_lineage_is_in_every_form(balanced: Callable[..., Balanced], tmp_path: Path) -> None:
    for form in FORMS:
        publish(balanced(), tmp_path / form, form=form)
        name = "metadata.csv" if form == "hf" else "manifest.csv"
        made = pd.read_csv(tmp_path / form / name).query("origin == 'synthetic'")
        assert made.parent.tolist()[0] == "img1" and set(made.generator) == {"my_gan"}
        assert made.checkpoint.nunique() == 1 and made.check_blank.notna().all(), form


def test_arrays_have_medmnists_form(balanced: Callable[..., Balanced], tmp_path: Path) -> None:
    """With the val and test images of the run, all real; our own source reads the splits."""
    content = balanced()
    publish(content, tmp_path / "out", form="npz")
    with np.load(tmp_path / "out" / "images.npz") as arrays:
        assert arrays["train_images"].shape == (19, 16, 16) and arrays["train_labels"].shape == (19, 1)
        assert arrays["test_labels"].dtype == np.uint8
        held_out = np.asarray(load_images(content.prepared.splits.test).images)[:, 0]
        assert np.array_equal(arrays["test_images"], held_out)
    assert "12 val and 12 test images, all real" in (tmp_path / "out" / "card.md").read_text()
    listed = sources.listing(_source(tmp_path / "out" / "images.npz"))
    assert listed.counts() == {"cat": 4 * 3 + 2, "dog": 4 * 3 + 5, "eel": 4 * 3}
    assert (listed.splits == "train").sum() == 19


def _source(path: Path):
    from pydantic import TypeAdapter

    return TypeAdapter(sources.Source).validate_python(sources.suggest(path))


def test_real_dicom_files_carry_no_mark(balanced: Callable[..., Balanced], tmp_path: Path) -> None:
    publish(balanced(), tmp_path / "out", form="dicom")
    table = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False)
    for row in table.itertuples():
        data = pydicom.dcmread(tmp_path / "out" / row.file)
        assert ("SyntheticData" in data) == (row.origin == "synthetic")
        if row.origin == "synthetic":
            assert data[0x0008, 0x001C].value == "YES" and row.checkpoint in data.DerivationDescription
    uids = [pydicom.dcmread(tmp_path / "out" / name).SOPInstanceUID for name in table.file]
    assert len(set(uids)) == len(uids)
