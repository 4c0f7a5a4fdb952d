"""Write images drawn from a generator: as class folders, an .npz file, a WebDataset shard or a Hugging Face image folder."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from PIL.PngImagePlugin import PngInfo

from augpipe.core import marks
from augpipe.core.csv_files import write_csv
from augpipe.core.errors import UserError
from augpipe.core.files import beside
from augpipe.core.images import SYNTHETIC, ImageSet
from augpipe.report.class_folders import folder_names, pictures, save
from augpipe.report.out import check_whole

SHARD: Final = 10_000  # samples of a WebDataset shard


@dataclass(frozen=True)
class Origin:
    """Where images come from. generator: its family or name. checkpoint: SHA-256. seed: of the drawing."""

    generator: str
    checkpoint: str
    seed: int

    @property
    def mark(self) -> PngInfo:
        """The mark of each PNG file."""
        return marks.synthetic(self.generator, self.checkpoint)


def write_generated(images: ImageSet, origin: Origin, out: Path, form: str) -> None:
    """Write the images to the new folder `out` atomically; form: one of FORMS."""
    check_new(out)  # again: the folder may have changed while images were drawn
    with beside(out) as draft:
        draft.mkdir(parents=True)
        FORMS[form](images, origin, draft)


def check_new(out: Path) -> None:
    """UserError unless `out` is new or empty, and can be written."""
    check_whole(out, ())
    if out.is_dir() and any(out.iterdir()):
        name = sorted(path.name for path in out.iterdir())[0]
        raise UserError(
            f"the out folder {out} holds {name!r}; choose a new or empty one with --out"
        )


def _table(images: ImageSet, origin: Origin) -> pd.DataFrame:
    """`file, class, origin, id, group, parent, generator, checkpoint, seed`, as in a balanced set's manifest."""
    folders = folder_names(images.classes)
    return pd.DataFrame(
        {
            "file": [
                f"{folders[c]}/{SYNTHETIC}-{row:06d}.png" for row, c in enumerate(images.labels)
            ],
            "class": [images.classes[c] for c in images.labels],
            **{name: images.table[name].to_numpy() for name in ("origin", "id", "group", "parent")},
            "generator": origin.generator,
            "checkpoint": origin.checkpoint,
            "seed": origin.seed,
        }
    )


def _folders(images: ImageSet, origin: Origin, out: Path) -> None:
    table = _table(images, origin)
    save(pictures(images), out, list(table.file), origin.mark)
    write_csv(table, out / "manifest.csv", paths=["file"])


def _hugging_face(images: ImageSet, origin: Origin, out: Path) -> None:
    """`metadata.csv` with `file_name`, as `datasets.load_dataset("imagefolder")` reads it."""
    table = _table(images, origin).rename(columns={"file": "file_name", "class": "label"})
    save(pictures(images), out, list(table.file_name), origin.mark)
    write_csv(table, out / "metadata.csv", paths=["file_name"])


def _npz(images: ImageSet, origin: Origin, out: Path) -> None:
    """`images` uint8 (N,H,W) or (N,H,W,3), `labels` int64 (N,), `class_names`; lineage in manifest.csv, in the same order."""
    pixels = np.ascontiguousarray(np.asarray(images.images).transpose(0, 2, 3, 1))
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    np.savez_compressed(
        out / "images.npz", images=pixels, labels=np.asarray(images.labels), class_names=np.array(images.classes)
    )  # fmt: skip
    write_csv(_table(images, origin).drop(columns="file"), out / "manifest.csv")


def _webdataset(images: ImageSet, origin: Origin, out: Path) -> None:
    """Shards of KEY.png, KEY.cls (the label) and KEY.json (class and lineage)."""
    records = _table(images, origin).drop(columns="file").to_dict("records")
    labels = np.asarray(images.labels)
    files = _encoded(images, origin.mark)
    for start in range(0, max(1, len(images)), SHARD):
        with tarfile.open(out / f"images-{start // SHARD:06d}.tar", "w") as tar:
            for at in range(start, min(start + SHARD, len(images))):
                parts = {
                    "png": next(files),
                    "cls": str(labels[at]).encode(),
                    "json": json.dumps(_plain(records[at]), ensure_ascii=False).encode(),
                }
                for suffix, data in parts.items():
                    entry = tarfile.TarInfo(
                        f"{at:08d}.{suffix}"
                    )  # without time and owner: the same bytes
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def _plain(record: Mapping[object, object]) -> dict[str, object]:
    return {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in record.items()
    }


def _encoded(images: ImageSet, mark: PngInfo) -> Iterator[bytes]:
    for picture in pictures(images):
        stream = io.BytesIO()
        picture.save(stream, format="PNG", pnginfo=mark)
        yield stream.getvalue()


FORMS: Final[Mapping[str, Callable[[ImageSet, Origin, Path], None]]] = {
    "folder": _folders,
    "npz": _npz,
    "webdataset": _webdataset,
    "hf": _hugging_face,
}
