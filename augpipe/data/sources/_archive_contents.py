"""What is in archives: pictures, also of zips inside them, other files, and what cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from augpipe.core.errors import PictureError, UserError, cause, one_line
from augpipe.data.sources._archive_files import BROKEN, TARS, ZIPS, Key, Tar, Zip, open_archive
from augpipe.data.sources._archive_splits import inside_split, splits_of_names, top_of
from augpipe.data.sources._dicom import SUFFIXES as DICOM
from augpipe.data.sources._files import SYSTEM_FOLDERS, printable
from augpipe.data.sources._formats import OTHER_FORMATS, SUFFIXES
from augpipe.data.sources._listing import Bad
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._shards import without_suffix
from augpipe.data.sources._tar_samples import LOOKED_AT, are_samples
from augpipe.data.sources._top_folders import SPLIT_WORD


@dataclass(frozen=True, slots=True)
class Member:
    """Location of a picture: index of the archive, key in it, and key of the archive inside it if there is one."""

    archive: int
    key: Key
    inner: Key | None = None
    in_tar: bool = False  # inside a tar inside
    sum: tuple[int, int] | None = None  # (CRC, length) if the archive stores them


@dataclass
class Contents:
    """Pictures by id, unusable files, archives inside that cannot be read, counts of ignored files by suffix, names of
    unknown encoding, other files such as tables, and folders.

    split: of the archive that is being listed, by its name; "" if it is none. by_name: whether names of archives may be
    splits. only_one: whether there is no other archive. split_names: archives inside others that are a split. tops:
    split → folders around all classes of its archive, left out of ids. inner_bytes: sum over all archives inside the
    archives, at most inner_limit.
    """

    inner_limit: int
    by_name: bool
    only_one: bool
    split: str = ""
    split_names: list[PurePosixPath] = field(default_factory=list)
    tops: dict[str, str] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    inner_bytes: int = 0
    guessed: list[str] = field(default_factory=list)
    others: dict[str, Member] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def packed_path(self, path: str) -> str:
        """The path of a picture as tables beside it name it:
        with the folders around all classes of its split's archive.
        """
        split, _, rest = path.partition("/")
        return f"{split}/{self.tops[split]}{rest}" if split in self.tops else path


@dataclass
class _Members:
    """Pictures and other files of one archive, by their paths in it, and its folders."""

    pictures: dict[str, Member] = field(default_factory=dict)
    others: dict[str, Member] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    holding: set[str] = field(default_factory=set)  # folders of files

    def add_folders(self, names: Iterable[str], archives: Iterable[str] = ()) -> None:
        """Add folders, and those around them, but for those of archives, hidden ones and those outside."""
        for name in {*names, *self.holding}:
            path = PurePosixPath(name)
            if _is_inside(name, path) and not _is_hidden(path):
                self.folders.update(map(str, (path, *path.parents)))
        self.folders.difference_update(".", *(map(str, PurePosixPath(name).parents) for name in archives))


def list_archive(index: int, path: Path, contents: Contents, encoding: str | None) -> None:
    """Add the members of one archive and of zips and tars inside it; UserError if the archive is broken."""
    try:
        with open_archive(path, encoding) as archive:
            members, inside = _Members(), list[tuple[str, Key]]()
            for name, key, reason in archive.names():
                if not name.lower().endswith((*ZIPS, *TARS)) or _is_hidden(PurePosixPath(name)):
                    member = Member(index, key, sum=archive.sum(key))
                    _collect(members, (name, key, reason), member, contents)
                elif reason:
                    contents.lost.append(f"the {_kind(name)} {printable(name)} in the archive {path}: {reason}")
                else:
                    contents.inner_bytes += archive.size(key)
                    if contents.inner_bytes > contents.inner_limit:
                        raise UserError(
                            f"the archives inside the archive {path} have more than {contents.inner_limit:,} bytes "
                            "together, a decompression bomb; unpack it and use the folder"
                        )
                    inside.append((name, key))
            members.add_folders(archive.folders, [name for name, _ in inside])
            _list_all_inner((index, path), archive, inside, contents)
            alone = contents.only_one and not inside  # its name would be the class of all
            _add_all(members, "" if contents.split or alone else path.name.split(".")[0], contents)
            contents.guessed += archive.guessed
    except BROKEN as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the archive {path}: {cause(error)}") from None


def _kind(name: str) -> str:
    return "zip" if name.lower().endswith(ZIPS) else "tar"


def _list_all_inner(
    at: tuple[int, Path], archive: Zip | Tar, inside: Sequence[tuple[str, Key]], contents: Contents
) -> None:
    """Add the members of the archives inside one, which are a split if their names or folders are."""
    split, names = contents.split, [PurePosixPath(name) for name, _ in inside]
    by_name = contents.by_name and not split
    splits = splits_of_names(names, with_folders=True) if by_name else [split] * len(names)
    if by_name and any(splits):
        contents.split_names += names
    for contents.split, entry in zip(splits, inside, strict=True):
        _list_inner(at, archive, entry, contents)
    contents.split = split


def _list_inner(at: tuple[int, Path], archive: Zip | Tar, entry: tuple[str, Key], contents: Contents) -> None:
    (index, path), (name, key) = at, entry
    members, kind, first = _Members(), _kind(name), list[str]()
    try:
        with archive.inner(key, kind == "tar") as inner:
            for member in inner.names():
                at_inside = Member(index, member[1], key, kind == "tar", inner.sum(member[1]))
                _collect(members, member, at_inside, contents)
                first += [member[0]] * (len(first) < LOOKED_AT)
            members.add_folders(inner.folders)
            contents.guessed += inner.guessed
    except BROKEN as error:
        # It may hold a whole class.
        contents.lost.append(f"the {kind} {printable(name)} in the archive {path}: {cause(error)}")
        return
    if kind == "tar" and are_samples(first):
        raise UserError(
            f"{printable(name)} in the archive {path} is a shard of WebDataset: unpack the archive, and use the folder"
        )
    stem = without_suffix(PurePosixPath(name).name, (*ZIPS, *TARS))
    # `train/cat.zip` is of a class, `train.zip` is not.
    _add_all(members, "" if contents.split and SPLIT_WORD.fullmatch(stem) else stem, contents)


def _collect(members: _Members, entry: tuple[str, Key, str], member: Member, contents: Contents) -> None:
    """Add a member; record one that is no picture as ignored or bad."""
    name, _, reason = entry
    members.holding.add(name.replace("\\", "/").rpartition("/")[0])
    path = _picture_path(name, reason, contents)
    if path is None:
        inside = PurePosixPath(name.replace("\\", "/"))
        if not reason and _is_inside(name, inside) and not _is_hidden(inside):
            members.others.setdefault(str(inside), member)
        return
    if path in members.pictures:
        contents.bad.append(Bad(path, "duplicate name in the archive"))
        return
    members.pictures[path] = member


def _add_all(members: _Members, stem: str, contents: Contents) -> None:
    """Add an archive's pictures; if none is in a folder, the archive's name is the class of all,
    but for one that is a split.
    """
    pictures = members.pictures
    loose = bool(stem) and not any("/" in path for path in pictures)
    top = top_of(pictures, contents.split, stem or contents.split) if not loose else ""
    if pictures and contents.split:
        same = contents.tops.setdefault(contents.split, top) == top
        contents.tops[contents.split] = top if same else ""
    for path, other in members.others.items():
        contents.others.setdefault(inside_split(f"{stem}/{path}" if loose else path, "", contents.split), other)
    around = {"", *(f"{parent}/" for parent in PurePosixPath(top, "_").parents)}
    contents.folders.update(
        inside_split(f"{stem}/{folder}" if loose else folder, top, contents.split)
        for folder in members.folders
        if f"{folder}/" not in around
    )
    for path, member in pictures.items():
        inside = inside_split(f"{stem}/{path}" if loose else path, top, contents.split)
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
    return any((part.startswith(".") and part != "..") or part.lower() in SYSTEM_FOLDERS for part in pure.parts)


def _picture_path(name: str, reason: str, contents: Contents) -> str | None:
    """Normalised path of a member; None if it is not a picture or is unsafe, which is recorded in `contents`."""
    path = PurePosixPath(name.replace("\\", "/"))
    if _is_hidden(path):
        contents.ignored[next((part for part in path.parts if part.lower() in SYSTEM_FOLDERS), "hidden")] += 1
        return None
    if path.suffix.lower() in OTHER_FORMATS:
        reason = reason or f"{path.suffix[1:].upper()}, an unsupported format"
    elif path.suffix.lower() in DICOM:
        reason = reason or "DICOM, which is not read from archives: unpack it and use the folder"
    elif not name.lower().endswith(SUFFIXES):
        contents.ignored[path.suffix.lower() or "no suffix"] += 1
        return None
    if not _is_inside(name, path):
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


def _is_inside(name: str, path: PurePosixPath) -> bool:
    """Whether a member's path, without a drive, stays inside the archive."""
    drive = len(name) > 1 and name[1] == ":"
    return not (path.is_absolute() or ".." in path.parts or drive)


def fetch_members(paths: Sequence[Path], members: Sequence[Member]) -> Iterator[Blob]:
    """Bytes of each member; an archive stays open for consecutive members."""
    # Names are not used here, so that their encoding does not matter.
    with ExitStack() as stack:
        current: tuple[int, Key | None] | None = None
        archive: Any = None
        for member in members:
            try:
                if current != (member.archive, member.inner):
                    stack.close()
                    current = None
                    archive = stack.enter_context(open_archive(paths[member.archive]))
                    if member.inner is not None:
                        archive = stack.enter_context(archive.inner(member.inner, member.in_tar))
                    current = (member.archive, member.inner)
                blob: Blob = archive.read(member.key)
            except (*BROKEN, KeyError) as error:
                blob = PictureError(one_line(error))
            yield blob
