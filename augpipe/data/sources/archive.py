"""A zip or tar of class folders, read in place: nothing is unpacked, so nothing can land elsewhere."""

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
from augpipe.data.sources._layout import Template, arrange, without_shared_top
from augpipe.data.sources._listing import Bad, Classes, Fetch, Listing, Rows, WholePath
from augpipe.data.sources._pictures import OTHER_FORMATS, SUFFIXES, Blob

ZIPS: Final = (".zip",)
TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LARGEST: Final = 2**27  # bytes of one member, unpacked: more is a bomb, not a picture
BROKEN: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, NotImplementedError,
    RuntimeError, ValueError, lzma.LZMAError, struct.error,
)  # fmt: skip


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class Config(KindConfig):
    """Options of archives."""

    kind: Literal["archive"]
    """A zip or tar of class folders, read in place."""

    path: Annotated[tuple[WholePath, ...], BeforeValidator(_several), Field(min_length=1)]
    """One archive or several, whose class folders are merged. Zips inside a zip are opened; a folder around everything is
    skipped."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""


Key = (
    int | tuple[int, int]
)  # a zip's member by its place in the directory; where a tar's begins, and its length


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a picture lies: the archive, the key in it, and the zip inside the archive that holds it."""

    archive: int
    key: Key
    inner: Key | None = None
    sum: tuple[int, int] | None = None  # checksum and length, where the archive tells them


@dataclass
class _Found:
    """Pictures by their id; what cannot be used; what is no picture, by suffix."""

    members: dict[str, _Member] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    repeated: int = 0


def suggest(path: Path) -> dict[str, Any] | None:
    """The config for what a user points at; None where it is not this kind's."""
    named = path.is_file() and path.name.lower().endswith((*ZIPS, *TARS))
    return {"kind": "archive", "path": str(path)} if named else None


def listing(config: Config) -> Listing:
    """Every picture of every archive; UserError where one cannot be opened."""
    found = _Found()
    for at, path in enumerate(config.path):
        _list(at, path, found)
    shared = without_shared_top(tuple(found.members))
    members = {told[shared:]: member for told, member in found.members.items()}
    where = " and ".join(f"the archive {path}" for path in config.path)

    def opening(ids: Sequence[str]) -> Fetch:
        def fetch(rows: Rows) -> Iterator[Blob]:
            return _fetch(config.path, [members[ids[row]] for row in rows])

        return fetch

    if not members and found.bad:
        first = found.bad[0]
        raise UserError(
            f"{where} holds no picture that can be used; the first, {first.id}: {first.reason}"
        )
    made = arrange(tuple(members), config.layout, config.classes, where, opening)
    again = f"{several(found.repeated, 'picture')} packed into several archives, taken once"
    return replace(
        made,
        bad=(*found.bad, *made.bad),
        ignored=dict(found.ignored),
        notes=(*made.notes, *([again] if found.repeated else [])),
    )


def _list(at: int, path: Path, found: _Found) -> None:
    """Enter one archive's members, and those of zips that lie in it; UserError where it is broken."""
    try:
        with _opened(path) as archive:
            own: dict[str, _Member] = {}
            for name, key, reason in archive.names():
                if not name.lower().endswith(ZIPS) or _hidden(PurePosixPath(name)):
                    _collect(
                        own, (name, key, reason), _Member(at, key, sum=archive.sum(key)), found
                    )
                elif reason:
                    found.bad.append(Bad(name, reason))
                else:
                    _list_inner(at, archive, (name, key), found)
            _enter(own, path.name.split(".")[0], found)
    except BROKEN as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the archive {path}: {_words(error)}") from None


def _list_inner(at: int, archive: _Zip | _Tar, named: tuple[str, Key], found: _Found) -> None:
    name, key = named
    own: dict[str, _Member] = {}
    try:
        with archive.inner(key) as inner:
            for member in inner.names():
                _collect(own, member, _Member(at, member[1], key, inner.sum(member[1])), found)
    except BROKEN as error:
        found.bad.append(Bad(name, f"a zip that cannot be read: {_words(error)}"))
        return
    _enter(own, PurePosixPath(name).stem, found)


def _collect(
    own: dict[str, _Member], named: tuple[str, Key, str], member: _Member, found: _Found
) -> None:
    """Add a member that is a picture; what is none, or stands twice, is noted."""
    told = _sorted_out(named[0], named[2], found)
    if told is None:
        return
    if told in own:
        found.bad.append(Bad(told, "a name that stands twice in the archive"))
        return
    own[told] = member


def _enter(members: Mapping[str, _Member], stem: str, found: _Found) -> None:
    """Add an archive's pictures; where none lies in a folder, all are of the class of the archive's name."""
    loose = not any("/" in told for told in members)
    for told, member in members.items():
        inside = f"{stem}/{told}" if loose else told
        before = found.members.get(inside)
        if before is not None and before.sum == member.sum and member.sum is not None:
            found.repeated += 1  # the same file, packed into both
            continue
        # The same name in two archives is two pictures.
        pure, n = PurePosixPath(inside), 2
        while inside in found.members:
            inside = str(pure.with_name(f"{pure.stem}~{n}{pure.suffix}"))
            n += 1
        found.members[inside] = member


def _hidden(pure: PurePosixPath) -> bool:
    return any(p.startswith(".") and p != ".." for p in pure.parts) or "__MACOSX" in pure.parts


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _sorted_out(name: str, reason: str, found: _Found) -> str | None:
    """A member's plain path; None for one that is no picture or may not be used, which is noted."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if _hidden(pure):
        found.ignored["hidden"] += 1
        return None
    if pure.suffix.lower() in OTHER_FORMATS:
        reason = reason or f"{pure.suffix[1:].upper()}, a format that is not read"
    elif not name.lower().endswith(SUFFIXES):
        found.ignored[pure.suffix.lower() or "no suffix"] += 1
        return None
    drive = len(name) > 1 and name[1] == ":"
    if pure.is_absolute() or ".." in pure.parts or drive:
        reason = "a path that leaves the archive"
    if not reason:
        try:
            str(pure).encode()
        except UnicodeEncodeError:
            reason = "a name that is not UTF-8"
    if reason:
        shown = str(pure).encode("utf-8", "backslashreplace").decode()
        found.bad.append(Bad(shown, reason))
        return None
    return str(pure)


def _fetch(paths: Sequence[Path], members: Sequence[_Member]) -> Iterator[Blob]:
    """The members' bytes; an archive is opened once for all that follow each other."""
    with ExitStack() as opened:
        now: tuple[int, Key | None] | None = None
        archive: Any = None
        for member in members:
            try:
                if now != (member.archive, member.inner):
                    opened.close()
                    now = None
                    archive = opened.enter_context(_opened(paths[member.archive]))
                    if member.inner is not None:
                        archive = opened.enter_context(archive.inner(member.inner))
                    now = (member.archive, member.inner)
                blob: Blob = archive.read(member.key)
            except (*BROKEN, KeyError) as error:
                blob = PictureError(" ".join(str(error).split()))
            yield blob


@contextmanager
def _opened(path: Path) -> Iterator[_Zip | _Tar]:
    """An archive's members; UserError where it is none."""
    if not path.is_file():
        raise UserError(
            f"the archive {path} {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    opening: Callable[[Path], Any] = _Tar if path.name.lower().endswith(TARS) else _Zip
    try:
        archive = opening(path)
    except BROKEN as error:
        raise UserError(f"cannot read the archive {path}: {' '.join(str(error).split())}") from None
    with archive:
        yield archive


def _place(key: Key) -> int:
    return key if isinstance(key, int) else key[0]


class _Zip:
    """A zip file's members."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)
        self._infos = self._zip.infolist()

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Each file's name and key, and why it cannot be used, "" where it can."""
        for at, info in enumerate(self._infos):
            if info.is_dir():
                continue
            reason = ""
            if info.flag_bits & 1:
                reason = "encrypted"
            elif stat.S_ISLNK(info.external_attr >> 16):
                reason = "a link"
            elif info.file_size > LARGEST:
                reason = f"{info.file_size:,} bytes unpacked, a bomb: more than {LARGEST:,}"
            yield info.filename, at, reason

    def sum(self, key: Key) -> tuple[int, int] | None:
        """A member's checksum and length."""
        info = self._infos[_place(key)]
        return info.CRC, info.file_size

    def read(self, key: Key) -> bytes:
        """A member's bytes, no more than any picture has."""
        with self._zip.open(self._infos[_place(key)]) as stream:
            found = stream.read(LARGEST + 1)
        if len(found) > LARGEST:
            raise PictureError(f"more than {LARGEST:,} bytes unpacked, a bomb")
        return found

    def inner(self, key: Key) -> _Zip:
        """A zip that lies in this one."""
        return _Zip(io.BytesIO(self.read(key)))


class _Tar:
    """A tar file's members, compressed or not."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def names(self) -> Iterator[tuple[str, Key, str]]:
        """Each file's name and key, and why it cannot be used, "" where it can."""
        for info in self._tar:
            if info.isdir():
                continue
            link = info.issym() or info.islnk()
            plain = info.isreg() and not info.issparse()
            reason = "" if plain else "a link" if link else "a device or a sparse file"
            if info.size > LARGEST:
                reason = f"{info.size:,} bytes, a bomb: more than {LARGEST:,}"
            yield info.name, (info.offset_data, info.size), reason
        self._check_end()

    def _check_end(self) -> None:
        """A cut tar looks like one that ends: only zeros, a block of them at least, may follow."""
        stream: Any = self._tar.fileobj
        stream.seek(self._tar.offset)
        length = 0
        while block := stream.read(2**20):
            length += len(block)
            if block.strip(b"\0"):
                raise tarfile.ReadError("something that is no member stands before its end")
        if length < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends without an end mark: a part is missing")

    def sum(self, key: Key) -> tuple[int, int] | None:
        """A tar does not tell."""
        return None

    def read(self, key: Key) -> bytes:
        """A member's bytes."""
        start, length = (key, 0) if isinstance(key, int) else key
        stream: Any = self._tar.fileobj
        stream.seek(start)
        found: bytes = stream.read(length)
        if len(found) < length:
            raise ValueError("the archive ends within it")
        return found

    def inner(self, key: Key) -> _Zip:
        """A zip that lies in this tar."""
        return _Zip(io.BytesIO(self.read(key)))
