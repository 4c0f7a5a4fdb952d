"""Pictures without labels, of files, folders and other sources."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, save
from pydicom.data import get_testdata_file
from shards import numbered, shard

from augpipe.core.errors import UserError
from augpipe.data.sources._pictures import decode
from augpipe.data.unlabelled import inputs_of, pictures_of


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
