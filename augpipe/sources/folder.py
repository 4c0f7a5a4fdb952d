"""A folder with a sub-folder of pictures for each class. Nothing below it is ever written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from augpipe.errors import UserError
from augpipe.images import ImageOptions, ImageSet, ImageSpec, provenance
from augpipe.schema import KindConfig
from augpipe.sources._pictures import SUFFIXES, read_picture

# Sizes every generator family can build: base 4..7, doubled.
SIZES = (16, 24, 28, 32, 48, 56, 64, 96, 112, 128)
LOOKED_AT = 200  # pictures whose headers choose size and channels


class Config(KindConfig):
    """`path`: the folder; `classes`: only these sub-folders, in this order (default: all, sorted)."""

    kind: Literal["folder"]
    path: Path
    classes: tuple[str, ...] | None = None


def load(config: Config, options: ImageOptions) -> ImageSet:
    """Every picture of every class; UserError names the first file that cannot be read."""
    names, files = _listing(config)
    paths = [path for own in files for path in own]
    spec = _spec(paths, options)
    images = np.empty((len(paths), *spec.shape), np.uint8)
    for row, path in enumerate(paths):
        try:
            images[row] = read_picture(path, spec, options.resize)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"cannot read the picture {path}: {error}") from None
    ids = [path.relative_to(config.path).as_posix() for path in paths]
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(own) for own in files])
    return ImageSet(images, labels, names, provenance(ids, sources=[str(p) for p in paths]))


def _listing(config: Config) -> tuple[tuple[str, ...], list[list[Path]]]:
    """Class names and each class's pictures, sorted; UserError where there is nothing to read."""
    root = config.path
    if not root.is_dir():
        what = "is a file, not a folder of class folders" if root.exists() else "does not exist"
        raise UserError(f"the folder {root} {what}")
    have = sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    names = config.classes or tuple(have)
    if len(names) < 2:
        raise UserError(
            f"the folder {root} needs a sub-folder for each of at least 2 classes; "
            f"has {', '.join(have) or 'none'}"
        )
    for name in names:
        if name not in have:
            raise UserError(f"no class folder {name!r} in {root}; have {', '.join(have)}")
    files = [_pictures(root / name) for name in names]
    for name, own in zip(names, files, strict=True):
        if not own:
            raise UserError(
                f"the class folder {root / name} holds no picture ({', '.join(SUFFIXES)})"
            )
    return names, files


def _pictures(folder: Path) -> list[Path]:
    found = (e for e in os.scandir(folder) if e.is_file(follow_symlinks=False))
    return sorted(
        Path(e.path)
        for e in found
        if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")
    )


def _spec(paths: list[Path], options: ImageOptions) -> ImageSpec:
    """Size and channels as asked, else from the pictures: the next size below their median short side."""
    if options.size and options.channels:
        return ImageSpec(options.size, options.channels)
    sides, colour = [], False
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        try:
            with Image.open(path) as picture:
                sides.append(min(picture.size))
                colour = colour or not picture.mode.startswith(("1", "L", "I", "F"))
        except (OSError, Image.DecompressionBombError):
            continue  # `load` names it, with the reason
    side = float(np.median(sides)) if sides else SIZES[0]
    # Beyond 64 px a run on a plain machine takes hours: who wants it says so.
    fitting = [size for size in SIZES if size <= min(side, 64)]
    size = options.size or (fitting[-1] if fitting else SIZES[0])
    return ImageSpec(size, options.channels or (3 if colour else 1))
