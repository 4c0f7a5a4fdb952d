"""DICOM files wherever they lie: their patients are seen, and none is passed over in silence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from pictures import dicom, noise, save, source

from augpipe.core.errors import UserError
from augpipe.data import sources

PATHS = [f"{'ab'[i % 2]}/{i}" for i in range(6)]  # two of each of three patients


def scans(root: Path, suffix: str = ".dcm") -> Path:
    for i, path in enumerate(PATHS):
        dicom(root / f"{path}{suffix}", noise(i), f"P{i // 2}")
    return root


def test_patients_of_dicom_files_that_a_table_names(tmp_path: Path) -> None:
    scans(tmp_path)
    save(tmp_path / "x.png", noise(9))
    rows = [f"{path}.dcm,{path[0]}" for path in PATHS] + ["x.png,a"]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows]))
    listing = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    assert listing.groups.tolist() == ["P0", "P0", "P1", "P1", "P2", "P2", "x.png"]
    assert any("set 'source.ignore=[PatientID]'" in note for note in listing.notes)
    left_out = sources.listing(source("manifest", path=tmp_path / "m.csv", ignore=["PatientID"]))
    assert left_out.groups is None
    names = (f"{i},{'ab'[i % 2]}" for i in range(6))  # as Kaggle's tables name scans
    (tmp_path / "names.csv").write_text("\n".join(["path,label", *names]))
    assert len(sources.listing(source("manifest", path=tmp_path / "names.csv"))) == 6
    rows = [f"{row},{i}" for i, row in enumerate(rows)]  # the table's own groups come first
    (tmp_path / "m.csv").write_text("\n".join(["path,label,group", *rows]))
    listing = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    assert listing.groups.tolist() == [*"0123456"]


@pytest.mark.parametrize("suffix", ["", ".IMA", ".001"])
@pytest.mark.parametrize("around", ["", "data/scans"])
def test_a_folder_of_dicom_by_content_and_in_other_folders(tmp_path: Path, suffix: str, around: str) -> None:
    scans(tmp_path / around, suffix)
    config = sources.suggest(tmp_path)
    assert config["kind"] == "dicom"
    listing = sources.listing(source(**config))
    assert listing.counts() == {"a": 3, "b": 3}
    assert sorted(listing.groups) == ["P0", "P0", "P1", "P1", "P2", "P2"]
    listing = sources.listing(source(**config, exclude=["*/[01]*"]))
    assert len(listing) == 4 and set(listing.groups) == {"P1", "P2"}


def test_dicom_among_pictures_and_in_archives_is_not_ignored(tmp_path: Path) -> None:
    for path in PATHS:
        save(tmp_path / "set" / f"{path}.png", noise(1))
    dicom(tmp_path / "set" / "a" / "x.dcm", noise(2))
    dicom(tmp_path / "set" / "a" / "y", noise(3))
    listing = sources.listing(source("folder", path=tmp_path / "set"))
    assert [(bad.id, bad.reason[:5]) for bad in listing.bad] == [("a/x.dcm", "DICOM"), ("a/y", "DICOM")]
    assert "source.kind: dicom" in listing.bad[0].reason and not listing.ignored
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "set" / "a" / "x.dcm", "a/x.dcm")
    with pytest.raises(UserError, match=r"a/x\.dcm: DICOM, .*: unpack it and use the folder"):
        sources.listing(source("archive", path=tmp_path / "x.zip"))
