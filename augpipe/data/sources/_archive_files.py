"""Members of zip and tar files, read in place."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

from augpipe.core.errors import PictureError, UserError, cause
from augpipe.data.sources._files import check_fetched

ZIPS: Final = (".zip",)
TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LARGEST: Final = 2**27  # bytes of one unpacked member; a larger one is rejected as a decompression bomb
BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
)
LONGEST_HEADER: Final = 2**20  # bytes of a tar's header of long names or attributes
LONG_HEADERS: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
MEMBER: Final = b"PK\3\4"  # a member of a zip begins so
UTF8_NAME: Final = 0x800  # flag of a member whose name is UTF-8
UNICODE_PATH: Final = 0x7075
Key = int | tuple[int, int]  # zip: index in the directory; tar: (offset, length) of the data


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Name in the Info-ZIP Unicode Path extra field (APPNOTE 4.6.9), if it is of the name `raw`; else None."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and len(data) > 5 and data[0] == 1:
            (crc,) = struct.unpack_from("<L", data, 1)
            try:
                return data[5:].decode() if crc == zlib.crc32(raw) else None
            except UnicodeDecodeError:
                return None
    return None


def require_archive(path: Path) -> None:
    """UserError if `path` is not a file."""
    if not path.is_file():
        raise UserError(f"the archive {path} {'is a folder' if path.is_dir() else 'does not exist'}")


@contextmanager
def open_archive(path: Path, encoding: str | None = None) -> Iterator[Zip | Tar]:
    """Open an archive; UserError if it is missing or not an archive.

    encoding: of file names that the archive does not mark as UTF-8.
    """
    require_archive(path)
    reader: Callable[[Path, str | None], Any] = Tar if path.name.lower().endswith(TARS) else Zip
    try:
        archive = reader(path, encoding)
    except BROKEN as error:
        check_fetched(path)
        message = "it is no tar" if "could not be opened" in str(error) else cause(error)
        raise UserError(f"cannot read the archive {path}: {message}") from None
    with archive:
        yield archive


def index_of(key: Key) -> int:
    """Index of a member in a zip's directory."""
    return key if isinstance(key, int) else key[0]


class Zip:
    """Members of a zip file.

    guessed: file names that are neither ASCII nor UTF-8, read as cp437, the encoding of a zip that names none. folders:
    those with an entry, without others of unknown encoding; complete after `names`.
    """

    def __init__(self, file: Path | IO[bytes], encoding: str | None = None) -> None:
        self._zip = zipfile.ZipFile(file)
        self._infos = self._zip.infolist()
        self._check_beginning()
        self._encoding = encoding
        self.guessed: list[str] = []
        self.folders: list[str] = []

    def __enter__(self) -> Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _check_beginning(self) -> None:
        """BadZipFile if members lie before those of the directory: it is that of a zip inside one that is cut off."""
        stream: Any = self._zip.fp
        stream.seek(0)
        if self._infos and min(info.header_offset for info in self._infos) > 0 and stream.read(4) == MEMBER:
            raise zipfile.BadZipFile(
                "its directory is that of a zip inside it: it is cut off (download it again), or several zips in one"
            )

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Name, key and reason why it cannot be used ("" if it can) of each file."""
        for at, info in enumerate(self._infos):
            if info.is_dir():
                if info.flag_bits & UTF8_NAME or info.filename.isascii():
                    self.folders.append(info.filename)
                continue
            reason = ""
            if info.flag_bits & 1:
                reason = "encrypted"
            elif stat.S_ISLNK(info.external_attr >> 16):
                reason = "a link"
            elif info.file_size > LARGEST:
                reason = f"{info.file_size:,} bytes unpacked, a decompression bomb: more than {LARGEST:,}"
            name = self._name(info)
            if name is None:
                name, reason = info.filename, f"a file name that is not {self._encoding}"
            yield name, at, reason

    def _name(self, info: zipfile.ZipInfo) -> str | None:
        """Name of a member; None if it is not of the encoding."""
        if info.flag_bits & UTF8_NAME or info.filename.isascii():
            return info.filename
        raw = info.orig_filename.encode("cp437")
        unicode_name = _unicode_path(info.extra, raw)
        if unicode_name is not None:
            return unicode_name
        for encoding in (self._encoding,) if self._encoding else ("utf-8",):
            try:
                return raw.decode(encoding).split("\0")[0]
            except UnicodeDecodeError:
                if self._encoding:
                    return None
        self.guessed.append(info.filename)
        return info.filename

    def size(self, key: Key) -> int:
        """Unpacked bytes of a member."""
        return self._infos[index_of(key)].file_size

    def sum(self, key: Key) -> tuple[int, int] | None:
        """CRC and length of a member."""
        info = self._infos[index_of(key)]
        return info.CRC, info.file_size

    def read(self, key: Key) -> bytes:
        """Bytes of a member; PictureError above LARGEST."""
        with self._zip.open(self._infos[index_of(key)]) as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise PictureError(f"more than {LARGEST:,} bytes unpacked, a decompression bomb")
        return data

    def inner(self, key: Key, is_tar: bool) -> Zip | Tar:
        """Open a zip or tar inside this one."""
        return _inner(self.read(key), is_tar, self._encoding)


def _inner(data: bytes, is_tar: bool, encoding: str | None) -> Zip | Tar:
    stream = io.BytesIO(data)
    return Tar(stream, encoding) if is_tar else Zip(stream, encoding)


class _TarInfo(tarfile.TarInfo):
    """A header of a tar; ReadError for one with more names and attributes than LONGEST_HEADER,
    which tarfile reads whole.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in LONG_HEADERS and info.size > LONGEST_HEADER:
            raise tarfile.ReadError(
                f"a header of {info.size:,} bytes, a decompression bomb: more than {LONGEST_HEADER:,}"
            )
        return info


class Tar:
    """Members of a tar file, compressed or not."""

    guessed: tuple[str, ...] = ()

    def __init__(self, file: Path | IO[bytes], encoding: str | None = None) -> None:
        self._encoding = encoding
        self.folders: list[str] = []
        path, stream = (file, None) if isinstance(file, Path) else (None, file)
        self._tar = tarfile.open(  # noqa: SIM115 (closed by __exit__)
            path, fileobj=stream, encoding=encoding or "utf-8", tarinfo=_TarInfo
        )

    def __enter__(self) -> Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Name, key and reason why it cannot be used ("" if it can) of each file."""
        for info in self._tar:
            if info.isdir():
                self.folders.append(info.name)
                continue
            link = info.issym() or info.islnk()
            plain = info.isreg() and not info.issparse()
            reason = "" if plain else "a link" if link else "a device or a sparse file"
            if info.size > LARGEST:
                reason = f"{info.size:,} bytes, a decompression bomb: more than {LARGEST:,}"
            yield info.name, (info.offset_data, info.size), reason
        self._check_end()

    def _check_end(self) -> None:
        """Raise ReadError for a truncated tar: after the last member there must be zeros only, at least one block."""
        stream: Any = self._tar.fileobj
        stream.seek(self._tar.offset)
        length = 0
        while block := stream.read(2**20):
            length += len(block)
            if block.strip(b"\0"):
                raise tarfile.ReadError("unexpected data after the last member")
        if length < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("the end marker is missing: the file is truncated")

    def size(self, key: Key) -> int:
        """Bytes of a member."""
        return 0 if isinstance(key, int) else key[1]

    def sum(self, key: Key) -> tuple[int, int] | None:
        """None: a tar stores no checksum of its members."""
        return None

    def read(self, key: Key) -> bytes:
        """Bytes of a member; ValueError if the archive ends before its end."""
        start, length = (key, 0) if isinstance(key, int) else key
        stream: Any = self._tar.fileobj
        stream.seek(start)
        data: bytes = stream.read(length)
        if len(data) < length:
            raise ValueError("the archive is truncated")
        return data

    def inner(self, key: Key, is_tar: bool) -> Zip | Tar:
        """Open a zip or tar inside this one."""
        return _inner(self.read(key), is_tar, self._encoding)
