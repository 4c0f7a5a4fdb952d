"""A zip or tar of class folders, read in place: nothing is unpacked, so no path can escape the target folder."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from augpipe.core.errors import PictureError, UserError, several
from augpipe.core.schema import KindConfig
from augpipe.data.sources._files import SYSTEM_FOLDERS, without
from augpipe.data.sources._layout import COPY, Template, arrange, shared_top, without_copy
from augpipe.data.sources._listing import Bad, Classes, Fetch, Listing, Rows, WholePath
from augpipe.data.sources._pictures import OTHER_FORMATS, SUFFIXES, Blob

ZIPS: Final = (".zip",)
TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LARGEST: Final = (
    2**27
)  # bytes of one unpacked member; a larger one is rejected as a decompression bomb
BROKEN: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, NotImplementedError,
    RuntimeError, ValueError, lzma.LZMAError, struct.error,
)  # fmt: skip


def _as_sequence(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class Config(KindConfig):
    """Options of archives."""

    kind: Literal["archive"]
    """A zip or tar of class folders, read in place."""

    path: Annotated[tuple[WholePath, ...], BeforeValidator(_as_sequence), Field(min_length=1)]
    """One archive or several, whose class folders are merged. Zips inside a zip are opened; a folder around everything is
    skipped."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    exclude: tuple[str, ...] = ()
    """Leave out pictures whose path matches one of these patterns, such as `*_mask.png` or `test/*`; `*` also matches `/`."""

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""


Key = int | tuple[int, int]  # zip: index in the directory; tar: (offset, length) of the data


@dataclass(frozen=True, slots=True)
class _Member:
    """Location of a picture: index of the archive, key in it, and key of the nested zip if there is one."""

    archive: int
    key: Key
    inner: Key | None = None
    sum: tuple[int, int] | None = None  # (CRC, length) if the archive stores them


@dataclass
class _Contents:
    """Pictures by id, unusable files, and counts of ignored files by suffix."""

    members: dict[str, _Member] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    repeated: int = 0


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is not an archive."""
    matches = path.is_file() and path.name.lower().endswith((*ZIPS, *TARS))
    return {"kind": "archive", "path": str(path)} if matches else None


def listing(config: Config) -> Listing:
    """List every picture of every archive; UserError if an archive cannot be opened."""
    contents = _Contents()
    for index, archive in enumerate(config.path):
        _list_archive(index, archive, contents)
    where = " and ".join(f"the archive {path}" for path in config.path)
    wanted, left_out = without(tuple(contents.members), config.exclude, where)
    shared = shared_top(wanted, keep_splits=config.layout is not None)
    members = {path.removeprefix(shared): contents.members[path] for path in wanted}
    paths, copy = list(members), ""
    if config.layout is None:
        paths, copy = without_copy(
            paths, lambda a, b: members[a].sum is not None and members[a].sum == members[b].sum
        )

    def opening(ids: Sequence[str]) -> Fetch:
        def fetch(rows: Rows) -> Iterator[Blob]:
            return _fetch(config.path, [members[ids[row]] for row in rows])

        return fetch

    if not members and contents.bad:
        first = contents.bad[0]
        raise UserError(f"{where} has no usable picture; the first, {first.id}: {first.reason}")
    pictures = arrange(paths, config.layout, config.classes, where, opening)
    repeated = f"{several(contents.repeated, 'picture')} packed into several archives, taken once"
    return replace(
        pictures,
        bad=(*contents.bad, *pictures.bad),
        ignored=dict(contents.ignored),
        notes=(
            *pictures.notes,
            *left_out,
            *([repeated] if contents.repeated else []),
            *([COPY.format(copy)] if copy else []),
        ),
    )


def _list_archive(index: int, path: Path, contents: _Contents) -> None:
    """Add the members of one archive and of zips inside it; UserError if the archive is broken."""
    try:
        with _open(path) as archive:
            members: dict[str, _Member] = {}
            for name, key, reason in archive.names():
                if not name.lower().endswith(ZIPS) or _is_hidden(PurePosixPath(name)):
                    _collect(
                        members,
                        (name, key, reason),
                        _Member(index, key, sum=archive.sum(key)),
                        contents,
                    )
                elif reason:
                    contents.bad.append(Bad(name, reason))
                else:
                    _list_inner(index, archive, (name, key), contents)
            _add_all(members, path.name.split(".")[0], contents)
    except BROKEN as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the archive {path}: {_one_line(error)}") from None


def _list_inner(
    index: int, archive: _Zip | _Tar, entry: tuple[str, Key], contents: _Contents
) -> None:
    name, key = entry
    members: dict[str, _Member] = {}
    try:
        with archive.inner(key) as inner:
            for member in inner.names():
                _collect(
                    members, member, _Member(index, member[1], key, inner.sum(member[1])), contents
                )
    except BROKEN as error:
        contents.bad.append(Bad(name, f"unreadable zip: {_one_line(error)}"))
        return
    _add_all(members, PurePosixPath(name).stem, contents)


def _collect(
    members: dict[str, _Member], entry: tuple[str, Key, str], member: _Member, contents: _Contents
) -> None:
    """Add a member if it is a picture; record it as ignored or bad otherwise."""
    path = _picture_path(entry[0], entry[2], contents)
    if path is None:
        return
    if path in members:
        contents.bad.append(Bad(path, "duplicate name in the archive"))
        return
    members[path] = member


def _add_all(members: Mapping[str, _Member], stem: str, contents: _Contents) -> None:
    """Add an archive's pictures; if none is in a folder, the archive's name is the class of all."""
    loose = not any("/" in path for path in members)
    for path, member in members.items():
        inside = f"{stem}/{path}" if loose else path
        existing = contents.members.get(inside)
        if existing is not None and existing.sum == member.sum and member.sum is not None:
            contents.repeated += 1  # the same file in two archives
            continue
        # Different files with the same name: add a suffix to the later one.
        posix, n = PurePosixPath(inside), 2
        while inside in contents.members:
            inside = str(posix.with_name(f"{posix.stem}~{n}{posix.suffix}"))
            n += 1
        contents.members[inside] = member


def _is_hidden(pure: PurePosixPath) -> bool:
    return any(
        (part.startswith(".") and part != "..") or part.lower() in SYSTEM_FOLDERS
        for part in pure.parts
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _picture_path(name: str, reason: str, contents: _Contents) -> str | None:
    """Normalised path of a member; None if it is not a picture or is unsafe, which is recorded in `contents`."""
    path = PurePosixPath(name.replace("\\", "/"))
    if _is_hidden(path):
        contents.ignored["hidden"] += 1
        return None
    if path.suffix.lower() in OTHER_FORMATS:
        reason = reason or f"{path.suffix[1:].upper()}, an unsupported format"
    elif not name.lower().endswith(SUFFIXES):
        contents.ignored[path.suffix.lower() or "no suffix"] += 1
        return None
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or drive:
        reason = "a path outside the archive"
    if not reason:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            reason = "a file name that is not UTF-8"
    if reason:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        contents.bad.append(Bad(shown, reason))
        return None
    return str(path)


def _fetch(paths: Sequence[Path], members: Sequence[_Member]) -> Iterator[Blob]:
    """Bytes of each member; an archive stays open for consecutive members."""
    with ExitStack() as stack:
        current: tuple[int, Key | None] | None = None
        archive: Any = None
        for member in members:
            try:
                if current != (member.archive, member.inner):
                    stack.close()
                    current = None
                    archive = stack.enter_context(_open(paths[member.archive]))
                    if member.inner is not None:
                        archive = stack.enter_context(archive.inner(member.inner))
                    current = (member.archive, member.inner)
                blob: Blob = archive.read(member.key)
            except (*BROKEN, KeyError) as error:
                blob = PictureError(" ".join(str(error).split()))
            yield blob


@contextmanager
def _open(path: Path) -> Iterator[_Zip | _Tar]:
    """Open an archive; UserError if it is missing or not an archive."""
    if not path.is_file():
        raise UserError(
            f"the archive {path} {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    reader: Callable[[Path], Any] = _Tar if path.name.lower().endswith(TARS) else _Zip
    try:
        archive = reader(path)
    except BROKEN as error:
        raise UserError(f"cannot read the archive {path}: {' '.join(str(error).split())}") from None
    with archive:
        yield archive


def _index(key: Key) -> int:
    return key if isinstance(key, int) else key[0]


class _Zip:
    """Members of a zip file."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)
        self._infos = self._zip.infolist()

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Name, key and reason why it cannot be used ("" if it can) of each file."""
        for at, info in enumerate(self._infos):
            if info.is_dir():
                continue
            reason = ""
            if info.flag_bits & 1:
                reason = "encrypted"
            elif stat.S_ISLNK(info.external_attr >> 16):
                reason = "a link"
            elif info.file_size > LARGEST:
                reason = f"{info.file_size:,} bytes unpacked, a decompression bomb: more than {LARGEST:,}"
            yield info.filename, at, reason

    def sum(self, key: Key) -> tuple[int, int] | None:
        """CRC and length of a member."""
        info = self._infos[_index(key)]
        return info.CRC, info.file_size

    def read(self, key: Key) -> bytes:
        """Bytes of a member; PictureError above LARGEST."""
        with self._zip.open(self._infos[_index(key)]) as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise PictureError(f"more than {LARGEST:,} bytes unpacked, a decompression bomb")
        return data

    def inner(self, key: Key) -> _Zip:
        """Open a zip inside this one."""
        return _Zip(io.BytesIO(self.read(key)))


class _Tar:
    """Members of a tar file, compressed or not."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Name, key and reason why it cannot be used ("" if it can) of each file."""
        for info in self._tar:
            if info.isdir():
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

    def inner(self, key: Key) -> _Zip:
        """Open a zip inside this tar."""
        return _Zip(io.BytesIO(self.read(key)))
