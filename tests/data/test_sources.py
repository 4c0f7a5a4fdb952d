"""Every kind of source, on real files of its kind."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import folders, noise, source, table
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.core.registry import load_kind
from augpipe.data import sources


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.zip", "archive"),
        ("x.tar.gz", "archive"),
        ("x.npz", "arrays"),
        ("x.csv", "manifest"),
        ("x.parquet", "manifest"),
        ("folder", "folder"),
        ("scans", "dicom"),
    ],
)
def test_what_a_user_points_at_finds_its_kind(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind in ("folder", "dicom"):
        path.mkdir()
        (path / ("a.dcm" if kind == "dicom" else "a.png")).touch()
    else:
        path.touch()
    assert sources.suggest(path)["kind"] == kind


def test_a_file_of_no_kind(tmp_path: Path) -> None:
    (tmp_path / "x.rar").touch()
    with pytest.raises(UserError, match=r"unknown kind of source: .*x\.rar; use a folder, \.zip"):
        sources.suggest(tmp_path / "x.rar")


@pytest.mark.parametrize(
    ("name", "way_on"),
    [
        ("data-0.arrow", "to_parquet"),
        ("data_batch_1", "name: CIFAR10"),
        ("train-images-idx3-ubyte", "name: MNIST"),
        ("emnist-letters-train-images-idx3-ubyte.gz", r"name: EMNIST, root: FOLDER, options: \{split: letters\}"),
        ("x.h5", r"np\.savez"),
        ("x.pt", r"np\.savez"),
        ("x.rar", "unpack x.rar"),
        ("coco.json", "as a table"),
    ],
)
def test_how_to_go_on_with_another_form(tmp_path: Path, name: str, way_on: str) -> None:
    """As a file, and as a folder of such."""
    (tmp_path / name).write_bytes(b"\0" * 200)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=way_on):
            sources.listing(source(**sources.suggest(path)))


@pytest.mark.parametrize("kind", sources.sources())
def test_every_source_has_its_parts(kind: str) -> None:
    module = load_kind("augpipe.data.sources", kind, "source")
    assert module.Config.model_fields["kind"] and callable(module.listing)
    assert module.__doc__ and module.Config.__doc__  # heads that say what it reads
    assert json.dumps(module.Config.model_json_schema())  # a form can be made of it


def test_rows_of_a_listing_can_be_asked_for_apart(tmp_path: Path) -> None:
    """Every kind that holds many: some rows, ascending, are the rows themselves."""
    root = folders(tmp_path / "pics", 9)
    np.savez(tmp_path / "x.npz", images=noise(0, 18, 16, 16), labels=np.arange(18) % 2)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(root, "w")
    table(
        tmp_path,
        [{"path": f"pics/{p.parent.name}/{p.name}", "label": p.parent.name} for p in sorted(root.rglob("*.png"))],
    )
    asked = np.array([1, 2, 7, 11, 17])
    for kind, path in (
        ("folder", root),
        ("arrays", tmp_path / "x.npz"),
        ("archive", tmp_path / "x.tar.gz"),
        ("manifest", tmp_path / "m.csv"),
        ("bundled", None),
    ):
        listed = sources.listing(source(kind, **({"path": path} if path else {})))
        whole = [plain(blob) for blob in listed.fetch(np.arange(len(listed)))]
        assert [plain(blob) for blob in listed.fetch(asked)] == [whole[row] for row in asked], kind


def plain(blob: object) -> bytes:
    if isinstance(blob, np.ndarray):
        return blob.tobytes()
    if isinstance(blob, Image.Image):
        return blob.tobytes()
    return blob if isinstance(blob, bytes) else Path(str(blob)).read_bytes()
