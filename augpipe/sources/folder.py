"""A folder with a sub-folder of pictures for each class. Nothing below it is ever written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from augpipe.errors import UserError
from augpipe.images import ImageOptions, ImageSet, ImageSpec, provenance
from augpipe.schema import KindConfig
from augpipe.sources._pictures import SUFFIXES, read_picture

# Sizes every generator family can build: base 4..7, doubled.
SIZES = (16, 24, 28, 32, 48, 56, 64, 96, 112, 128)
LARGEST = (
    64  # chosen by itself: beyond, a run on a plain machine takes hours, and who wants it says so
)
LOOKED_AT = 200  # pictures whose headers choose size and channels


# What Pillow raises for files that are broken one way or another.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class Config(KindConfig):
    """`path`: the folder; `classes`: only these sub-folders, in this order (default: all, sorted)."""

    kind: Literal["folder"]
    path: Path
    classes: tuple[str, ...] | None = Field(default=None, min_length=2)

    @field_validator("path")
    @classmethod
    def _whole(cls, path: Path) -> Path:
        # Told in full, the experiment can be run again from anywhere.
        return path.expanduser().absolute()

    @field_validator("classes")
    @classmethod
    def _no_class_twice(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if names and names.count(name) > 1:
                # Its pictures would be two classes, and stand on both sides of the split.
                raise ValueError(f"the class {name!r} is given twice")
        return names


def load(config: Config, options: ImageOptions) -> ImageSet:
    """Every picture of every class; UserError names the first file that cannot be read."""
    names, files = _listing(config)
    paths = [path for own in files for path in own]
    spec, _ = _shape(paths, options)
    images = np.empty((len(paths), *spec.shape), np.uint8)
    for row, path in enumerate(paths):
        try:
            images[row] = read_picture(path, spec, options.resize)
        except UNREADABLE as error:
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
    have = sorted(p.name for p in _entries(root) if p.is_dir())
    names = config.classes or tuple(have)
    if len(names) < 2:
        raise UserError(
            f"the folder {root} needs a sub-folder for each of at least 2 classes; "
            f"has {', '.join(have) or 'none'}"
        )
    for name in names:
        if name not in have:
            raise UserError(f"no class folder {name!r} in {root}; have {', '.join(have)}")
    for name in names:
        _stays_inside(root / name, root)
    files = [_pictures(root / name, root) for name in names]
    for name, own in zip(names, files, strict=True):
        if not own:
            raise UserError(
                f"the class folder {root / name} holds no picture ({', '.join(SUFFIXES)})"
            )
    return names, files


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder but for hidden files; UserError where it cannot be listed or named."""
    try:
        found = [Path(e.path) for e in os.scandir(folder) if not e.name.startswith(".")]
    except OSError as error:
        raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None
    for path in found:
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the name {path.name!r} in {folder} is not UTF-8; rename it") from None
    return found


def _pictures(folder: Path, root: Path) -> list[Path]:
    pictures = sorted(p for p in _entries(folder) if p.name.lower().endswith(SUFFIXES))
    for path in pictures:
        _stays_inside(path, root)
    return [path for path in pictures if path.is_file()]


def _stays_inside(path: Path, root: Path) -> None:
    """UserError for a link to somewhere else: what it shows is not in the folder that was named."""
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"the link {path} leaves the folder {root}; copy what it shows, or remove it"
        )


@dataclass(frozen=True)
class Survey:
    """What a look at the folder finds: images of each class, the shape that fits them, and why."""

    counts: dict[str, int]
    spec: ImageSpec
    about: str


def survey(config: Config, options: ImageOptions) -> Survey:
    """Listing and picture headers only; UserError where there is nothing to read."""
    names, files = _listing(config)
    counts = {name: len(own) for name, own in zip(names, files, strict=True)}
    return Survey(counts, *_shape([path for own in files for path in own], options))


def _shape(paths: list[Path], options: ImageOptions) -> tuple[ImageSpec, str]:
    """Size and channels as asked, else the next size below the pictures' median short side."""
    sides, colour = [], False
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        try:
            with Image.open(path) as picture:
                sides.append(min(picture.size))
                colour = colour or not picture.mode.startswith(("1", "L", "I", "F"))
        except UNREADABLE:
            continue  # `load` names it, with the reason
    side = float(np.median(sides)) if sides else float(SIZES[0])
    fitting = [size for size in SIZES if size <= min(side, LARGEST)]
    size = options.size or (fitting[-1] if fitting else SIZES[0])
    channels = options.channels or (3 if colour else 1)
    about = f"median short side {side:g} px, {'colour' if colour else 'grey'}"
    return ImageSpec(size, channels), about
