"""Sets in shards for tests: Hugging Face's Parquet with images, and WebDataset's tars."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from pictures import noise
from PIL import Image
from pyarrow import parquet


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed)).save(buffer, "PNG")
    return buffer.getvalue()


NAMES = ("cat", "dog", "emu")


def hugging_face(path: Path, labels: list[int], start: int = 0, names: Any = NAMES, **columns: Any) -> Path:
    """A file as `datasets` writes it, three rows a row group."""
    images = [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(len(labels))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel"} | ({} if names == () else {"names": names}),
    }
    table = pa.table({"image": pa.array(images, kind), "label": pa.array(labels), **columns})
    described = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"huggingface": described}), path, row_group_size=3)
    return path


def shard(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    """A tar of samples: key → suffix → content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as packed:
        for key, files in samples.items():
            for suffix, content in files.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
    return path


def numbered(labels: list[int], start: int = 0) -> dict[str, dict[str, bytes]]:
    return {f"{start + i:06d}": {"png": png(start + i), "cls": f"{label}\n".encode()} for i, label in enumerate(labels)}


def described(*values: dict[str, Any] | bytes) -> dict[str, dict[str, bytes]]:
    """Samples with a .json file each."""
    return {
        f"{i}": {"png": png(i), "json": v if isinstance(v, bytes) else json.dumps(v).encode()}
        for i, v in enumerate(values)
    }
