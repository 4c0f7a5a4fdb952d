"""Whether a file is a picture: by its suffix, or by its first bytes."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
    ".pnm",
    ".pbm",
    ".webp",
    ".gif",
)
# Unsupported picture formats: reported as unusable, not ignored as other files are.
OTHER_FORMATS = (
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".j2k",
    ".jxl",
    ".psd",
    ".svg",
    ".eps",
    ".raw",
    ".dng",
    ".nef",
    ".cr2",
    ".ico",
    ".tga",
    ".exr",
)
_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"P5", b"P6", b"BM", b"RIFF")


def begins_as_picture(path: Path) -> bool:
    """Whether a file is a picture by its first bytes."""
    try:
        with path.open("rb") as stream:
            return starts_as_picture(stream.read(8))
    except OSError:
        return True  # reading it later reports the reason


def starts_as_picture(data: bytes) -> bool:
    """Whether the first bytes of a file, at least 8, are a picture's."""
    return data.startswith(_MAGIC)
