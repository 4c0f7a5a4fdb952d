"""Image sets as class folders of PNG files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from augpipe.core.images import ImageSet

RESERVED: Final = ("manifest.csv", "metadata.csv")
Size = tuple[int, int]  # width, height
LONGEST: Final = 120  # bytes of a class folder's name; file systems allow 255


def folder_names(classes: Sequence[str], reserved: Sequence[str] = ()) -> list[str]:
    """Folder names of the classes: no separators, no leading dot, unique even if case is ignored.

    reserved: further names of files beside the folders.
    """
    names: list[str] = []
    taken = {name.casefold() for name in (*reserved, *RESERVED)}
    for label, name in enumerate(classes):
        plain = re.sub(r"[^\w .+-]", "_", unicodedata.normalize("NFC", name))
        plain = plain.encode()[:LONGEST].decode(errors="ignore").strip(" .") or "class"
        folder, number = plain, label
        while folder.casefold() in taken:
            folder, number = f"{plain}_{number}", number + 1
        names.append(folder)
        taken.add(folder.casefold())
    return names


def pictures(images: ImageSet) -> Iterator[Image.Image]:
    """Each image as a picture of mode L or RGB."""
    for pixels in images.images:
        channels = np.array(pixels)
        yield Image.fromarray(channels[0] if len(channels) == 1 else channels.transpose(1, 2, 0))


def save(files: Iterable[tuple[bytes, Size]], folder: Path, names: Sequence[str]) -> set[Size]:
    """Write PNG files, each given as its bytes with the picture's size, and return their sizes."""
    for name in {str(Path(name).parent) for name in names}:
        (folder / name).mkdir(exist_ok=True)
    sizes = set()
    for (data, size), name in zip(files, names, strict=True):
        (folder / name).write_bytes(data)
        sizes.add(size)
    return sizes
