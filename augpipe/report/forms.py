"""Write labelled images with their lineage:
class folders, an .npz file, WebDataset shards, a Hugging Face folder, DICOM.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from augpipe.core import marks
from augpipe.core.csv_files import write_csv
from augpipe.core.images import ImageSet
from augpipe.report.class_folders import Size, save
from augpipe.report.credentials import Signing, signer
from augpipe.report.dicom_files import save_dicom

SHARD: Final = 10_000  # samples of a WebDataset shard
ARRAYS: Final = "images.npz"


@dataclass(frozen=True)
class Origin:
    """Where images come from. generator: its family or name. checkpoint: SHA-256. seed: of the drawing.
    truncation: 1 if none.
    """

    generator: str
    checkpoint: str
    seed: int
    truncation: float = 1.0

    @property
    def mark(self) -> PngInfo:
        """The mark of each PNG file."""
        return marks.synthetic(self.generator, self.checkpoint)

    @property
    def drawn_by(self) -> str:
        """Generator and checkpoint in words."""
        return f"drawn by the generator {self.generator}, checkpoint {self.checkpoint}"


@dataclass(frozen=True)
class Content:
    """Images to write, in the order of `table`.

    table: a row an image, with `file` (FOLDER/NAME.png), `class` and lineage. labels: int64 (N,). pictures: of mode L
    or RGB. origins: of each image; None for a real one. split: name of the images' split, "" if they have none.
    held_out: real images of other splits by name, of the same size; only an .npz file has them. signing: signs the PNG
    files of synthetic images.
    """

    table: pd.DataFrame
    labels: NDArray[np.int64]
    classes: Sequence[str]
    pictures: Iterable[Image.Image]
    origins: Sequence[Origin | None]
    split: str = ""
    held_out: Mapping[str, ImageSet] = field(default_factory=dict)
    signing: Signing | None = None


@dataclass(frozen=True)
class Written:
    """table: name of the file with a row an image. escaped: what `write_csv` returned.
    sizes: (width, height) of the pictures.
    """

    table: str
    escaped: dict[str, str]
    sizes: set[Size]


def write_form(form: str, content: Content, out: Path) -> Written:
    """Write the images and their table to the existing folder `out`; form: one of FORMS."""
    return FORMS[form](content, out)


def _folders(content: Content, out: Path) -> Written:
    sizes = save(_encoded(content), out, list(content.table.file))
    return _with_manifest(content.table, sizes, out)


def _hugging_face(content: Content, out: Path) -> Written:
    """`metadata.csv` with `file_name`, as `datasets.load_dataset("imagefolder")` reads it."""
    table = content.table.rename(columns={"file": "file_name", "class": "label"})
    sizes = save(_encoded(content), out, list(table.file_name))
    escaped = write_csv(table, out / "metadata.csv", paths=["file_name"])
    return Written("metadata.csv", escaped, sizes)


def _dicom(content: Content, out: Path) -> Written:
    """Secondary captures in class folders; (0008,001C) Synthetic Data of synthetic ones is YES."""
    files = [f"{name.removesuffix('.png')}.dcm" for name in content.table.file]
    table = content.table.assign(file=files)
    sizes = save_dicom(content.pictures, out, table, [o is not None for o in content.origins])
    return _with_manifest(table, sizes, out)


def _npz(content: Content, out: Path) -> Written:
    """`images` uint8 (N,H,W) or (N,H,W,3), `labels` int64 (N,), `class_names`; with a split MedMNIST's form.

    That is `train_images`, `train_labels` (N,1) and so on. The manifest has the images' order.
    """
    pixels = np.stack([np.asarray(picture) for picture in content.pictures])
    sizes = {(pixels.shape[2], pixels.shape[1])}
    labels = np.asarray(content.labels, np.int64)
    arrays: dict[str, NDArray[Any]] = {"images": pixels, "labels": labels}
    if content.split:
        arrays = _split_arrays(content.split, pixels, labels)
    for name, images in content.held_out.items():
        channels_last = np.asarray(images.images).transpose(0, 2, 3, 1)
        shown = channels_last[..., 0] if channels_last.shape[-1] == 1 else channels_last
        arrays |= _split_arrays(name, np.ascontiguousarray(shown), np.asarray(images.labels))
    arrays["class_names"] = np.array(content.classes)
    np.savez_compressed(out / ARRAYS, **arrays)  # type: ignore[arg-type]  # no array has the name of an option
    return _with_manifest(content.table.assign(file=ARRAYS), sizes, out)


def _split_arrays(split: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    small = labels.max(initial=0) < 256
    column = labels.astype(np.uint8 if small else np.int64).reshape(-1, 1)
    return {f"{split}_images": pixels, f"{split}_labels": column}


def _webdataset(content: Content, out: Path) -> Written:
    """Shards of KEY.png, KEY.cls (the label) and KEY.json (class and lineage)."""
    records = content.table.drop(columns="file").to_dict("records")
    keys = [f"{row:08d}" for row in range(len(records))]
    shards = [f"images-{row // SHARD:06d}.tar" for row in range(len(records))]
    sizes, samples = set[Size](), _encoded(content)
    for name in dict.fromkeys(shards or ["images-000000.tar"]):
        with tarfile.open(out / name, "w") as tar:
            for at in (row for row, shard in enumerate(shards) if shard == name):
                data, size = next(samples)
                sizes.add(size)
                _add(tar, f"{keys[at]}.png", data)
                _add(tar, f"{keys[at]}.cls", str(int(content.labels[at])).encode())
                about = json.dumps(_plain(records[at]), ensure_ascii=False, allow_nan=False)
                _add(tar, f"{keys[at]}.json", about.encode())
    return _with_manifest(content.table.assign(file=shards, key=keys), sizes, out)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without time and owner: the same bytes
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _plain(record: Mapping[Any, Any]) -> dict[str, object]:
    """A row as JSON values, without those that are missing."""
    plain: dict[str, object] = {}
    for key, value in record.items():
        item = value.item() if isinstance(value, np.generic) else value
        if isinstance(item, float) and not math.isfinite(item):
            if math.isnan(item):
                continue
            item = str(item)
        plain[str(key)] = item
    return plain


def _encoded(content: Content) -> Iterator[tuple[bytes, Size]]:
    """Each picture as a PNG file, with the mark of a synthetic one; colour profiles are left out, as training does not
    use them.
    """
    marks = {origin: origin.mark for origin in set(content.origins) if origin is not None}
    sign = None if content.signing is None else signer(content.signing)
    for picture, origin in zip(content.pictures, content.origins, strict=True):
        stream = io.BytesIO()
        picture.save(stream, format="PNG", icc_profile=None, pnginfo=None if origin is None else marks[origin])
        data = stream.getvalue()
        yield (data if sign is None or origin is None else sign(data, origin.drawn_by)), picture.size


def _with_manifest(table: pd.DataFrame, sizes: set[Size], out: Path) -> Written:
    return Written("manifest.csv", write_csv(table, out / "manifest.csv", paths=["file"]), sizes)


FORMS: Final[Mapping[str, Callable[[Content, Path], Written]]] = {
    "folder": _folders,
    "npz": _npz,
    "webdataset": _webdataset,
    "hf": _hugging_face,
    "dicom": _dicom,
}
