"""Real files of every kind, good and bad, and a source read as a run reads it."""

from __future__ import annotations

import itertools
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from augpipe.core.options import ImageOptions
from augpipe.core.registry import load_kind
from augpipe.data import sources
from augpipe.data.intake import Intake, take_in
from augpipe.data.options import Policy


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Pixels that no two seeds share."""
    return np.random.default_rng(seed).integers(0, 255, shape or (16, 16), dtype=np.uint8)


def photographs() -> list[Image.Image]:
    """Pieces of two real photographs, each different."""
    pieces = []
    for photograph in load_sample_images().images:
        whole = Image.fromarray(photograph)
        for x, y in itertools.product(range(0, 560, 140), range(0, 400, 140)):
            pieces.append(whole.crop((x, y, x + 140, y + 140)))
    return pieces


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    """An array as a picture file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def tree(root: Path, *folders: str, n: int = 2) -> Path:
    """n pictures of noise in each folder."""
    for seed, folder in enumerate(folders):
        for i in range(n):
            save(root / folder / f"{i}.png", noise(100 * seed + i))
    return root


def advised(message: str) -> dict[str, Any]:
    """The first option that a message advises, as the command reads it."""
    match = re.search(r"source\.(?:(layout)=|exclude=)((?<=layout=)'[^']*'|[^']*)", message)
    assert match, message
    value = yaml.safe_load(match[2])
    return {"layout" if match[1] else "exclude": value}


def folders(root: Path, n: int = 30, names: tuple[str, ...] = ("a", "b")) -> Path:
    """n different pictures in each of some class folders."""
    for c, name in enumerate(names):
        for i in range(n):
            save(root / name / f"{i:03d}.png", noise(1000 * c + i))
    return root


def untouched(root: Path) -> list[tuple[str, int, int]]:
    """What a source must leave as it is: names, times and sizes of all files."""
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*"))


def listed_as(root: Path, packed: bool, **options: object) -> sources.Listing:
    """A folder's pictures, or those of a zip of it."""
    if not packed:
        return sources.listing(source("folder", path=root, **options))
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted([*root.rglob("*.png"), *root.glob("*.csv")]):
            archive.write(path, path.relative_to(root))
    return sources.listing(source("archive", path=root.with_suffix(".zip"), **options))


def table(root: Path, rows: list[dict[str, object]], name: str = "m.csv") -> Path:
    """Rows as a table in a file."""
    frame = pd.DataFrame(rows)
    path = root / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def ham(tmp_path: Path, n: int = 40) -> Path:
    """As HAM10000 comes: pictures in two folders, a table that names them without folder and suffix."""
    rows = []
    for i in range(n):
        name = f"ISIC_{i:07d}"
        save(tmp_path / f"HAM10000_images_part_{1 + 2 * i // n}" / f"{name}.jpg", noise(i))
        rows.append({"lesion_id": f"HAM_{i // 2}", "image_id": name, "dx": ("nv", "nv", "mel")[i % 3]})
    return table(tmp_path, rows, "HAM10000_metadata.csv")


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG file by hand; kind: 0 grey, 2 RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def dicom(path: Path, pixels: NDArray[Any], patient: str = "p", **more: object) -> Path:
    """Pixels as a DICOM file; more: fields of its header."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientID = patient
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for key, value in more.items():
        setattr(data, key, value)
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def source(kind: str, **values: Any) -> Any:
    """A source's config."""
    return load_kind("augpipe.data.sources", kind, "source").Config(kind=kind, **values)


def came(
    kind: str, folder: Path, image: ImageOptions | None = None, policy: Policy | None = None, **values: Any
) -> Intake:
    """A source, read whole; the images below `folder`, memory-mapped."""
    listed = sources.listing(source(kind, **values))
    return take_in(listed, image or ImageOptions(), policy, folder=folder / "taken")


def why(intake: Intake) -> dict[str, str]:
    """What could not be used → the reason."""
    return {one.id: one.reason for one in intake.bad}
