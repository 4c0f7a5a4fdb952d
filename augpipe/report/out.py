"""Check where a command is to write: before any work, and without the libraries that a report needs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.core.home import home

FILES: Final = (
    "report.html",
    "scores.csv",
    "fidelity.csv",
    "summary.json",
    "experiment.yaml",
    "samples",
    "quarantine.csv",
    "predictions.csv",
    "models",
    "confirm.csv",
    "differences.csv",
    "quiz",
    "attributes.csv",
    "exported",
)
INSPECTION_FILES: Final = ("inspect.html", "inspect.json", "quarantine.csv")
# Folder → patterns of its files.
INNER: Final = {
    "samples": ("samples/*.png",),
    "models": ("models/*.pt", "models/README.md"),
    "quiz": ("quiz/*.html",),
    "exported": ("exported/*.pt", "exported/*.pt2", "exported/*.onnx"),
}
HUGGING_FACE: Final = "metadata.csv"  # in place of manifest.csv in a set for Hugging Face
CROISSANT: Final = "croissant.json"
BALANCED_FILES: Final = ("manifest.csv", "card.md", "card.json", "fidelity.csv", "experiment.yaml", CROISSANT)


# Sets of earlier versions have no Croissant description.
_WRITTEN_BY_ALL: Final = tuple(name for name in BALANCED_FILES[1:] if name != CROISSANT)


def check_out(out: Path, sources: Sequence[Path] = (), files: Sequence[str] = FILES) -> None:
    """UserError if `out` cannot become the folder of a run; checked before a run and at its end.

    A run replaces the folder of an earlier run, never a folder that contains anything else, and never writes
    below the source folders of the images. files: contents of a run's folder.
    """
    check_whole(out, sources)
    if out.is_dir() and any(out.iterdir()):
        _check_replaceable(out, files)


def check_new(out: Path) -> None:
    """UserError unless `out` is new or empty, and can be written."""
    check_whole(out, ())
    if out.is_dir() and any(out.iterdir()):
        name = sorted(path.name for path in out.iterdir())[0]
        raise UserError(f"the out folder {out} holds {name!r}; choose a new or empty one with --out")


def check_balanced_out(out: Path, sources: Sequence[Path] = ()) -> None:
    """UserError if `out` cannot become the folder of a balanced set; that of an earlier set is replaced completely."""
    check_whole(out, sources)
    if not out.is_dir() or not any(out.iterdir()):
        return
    known = {*BALANCED_FILES, HUGGING_FACE}
    tables = [out / name for name in (BALANCED_FILES[0], HUGGING_FACE) if (out / name).is_file()]
    if tables and all((out / name).is_file() for name in _WRITTEN_BY_ALL):
        known |= _files_of(tables[0])
        known |= {str(Path(name).parent) for name in known}
    foreign = sorted(name for name in (p.relative_to(out).as_posix() for p in out.rglob("*")) if name not in known)
    if foreign:
        raise UserError(
            f"the out folder {out} holds {foreign[0]!r}, which is not a file of a balanced set; choose another --out"
        )


def _files_of(manifest: Path) -> set[str]:
    """File names listed in a manifest; empty if it is not a manifest."""
    import pandas as pd  # imported late: other checks do not need it

    try:
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    except ValueError:  # not a CSV table
        return set()
    columns = [table[name] for name in ("file", "file_name") if name in table]
    return {name.removeprefix("./") for column in columns for name in column}


def check_whole(out: Path, sources: Sequence[Path]) -> None:
    """UserError if the folder cannot be created, or contains AUGPIPE_HOME, the working directory or the images."""
    check_place(out, sources, "the out folder")
    place = out.resolve()
    holding = [(home(), "AUGPIPE_HOME"), *((source, "the images") for source in sources)]
    with suppress(FileNotFoundError):  # it was deleted during the run
        holding.append((Path.cwd(), "the working directory"))
    for folder, what in holding:
        if folder.resolve().is_relative_to(place):
            raise UserError(f"the out folder {out} would be replaced completely but holds {what}; choose another --out")
    if place.is_mount():
        raise UserError(f"the out folder {out} is a mount point and cannot be replaced; choose a folder below it")


def _check_replaceable(out: Path, files: Sequence[str]) -> None:
    """UserError if the folder contains anything that a run has not written."""
    try:
        names = {p.relative_to(out).as_posix() for p in out.rglob("*")}
    except OSError as error:
        raise UserError(f"cannot read the out folder {out}: {error.strerror}") from None
    inner = [p for folder, patterns in INNER.items() if folder in files for p in patterns]
    foreign = sorted(n for n in names if n not in files and not any(fnmatch(n, p) for p in inner))
    if foreign or not {name for name in files if name.endswith((".json", ".yaml"))} <= names:
        what = f"holds {foreign[0]!r}, which no run has written" if foreign else "is not a run's"
        raise UserError(f"the out folder {out} {what}; choose another --out")


def check_home(sources: Sequence[Path]) -> None:
    """UserError if AUGPIPE_HOME cannot be written to, or lies below one of the source folders."""
    check_place(home(), sources, "AUGPIPE_HOME")


def check_place(place: Path, sources: Sequence[Path], what: str) -> None:
    """UserError if the folder `place` cannot be created or written to, or lies below one of `sources`."""
    resolved = _resolved(place, what)
    if place.is_symlink() and not place.exists():
        raise UserError(f"{what} {place} is a link to {place.readlink()}, which does not exist")
    for source in sources:
        if resolved.is_relative_to(_resolved(source, "the image folder")):
            raise UserError(
                f"{what} {place} lies in the image folder {source}, which must not be written to; choose another path"
            )
    # A draft is written next to the folder and renamed, so its parent must be writable.
    for parent in {_first(resolved), _first(resolved.parent)}:
        if not parent.is_dir():
            raise UserError(f"{what} {place} cannot be a folder: {parent} is a file")
        try:
            with tempfile.TemporaryDirectory(prefix=".augpipe-", dir=parent):
                pass
        except OSError as error:
            raise UserError(f"cannot write to {what} {place}: {error.strerror} in {parent}") from None


def _resolved(place: Path, what: str) -> Path:
    """The path without links; UserError if they lead to each other."""
    try:
        return place.resolve()
    except (RuntimeError, OSError):
        raise UserError(f"{what} {place} is a link that leads to itself") from None


def _first(path: Path) -> Path:
    """The path itself or its nearest existing parent."""
    return next(p for p in (path, *path.parents) if p.exists())
