"""Write the out folder of a run atomically, with the files listed in the README."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.core.files import beside, write_json
from augpipe.core.home import home
from augpipe.core.images import grid
from augpipe.pipeline.experiment import dump
from augpipe.report.results import Results

FILES: Final = (
    "report.html", "scores.csv", "fidelity.csv", "summary.json", "experiment.yaml", "samples",
    "quarantine.csv",
)  # fmt: skip


def check_out(out: Path, source: Path | None = None, files: Sequence[str] = FILES) -> None:
    """UserError if `out` cannot become the folder of a run; checked before a run and at its end.

    A run replaces the folder of an earlier run, never a folder that contains anything else, and never writes
    below the source folder of the images. files: contents of a run's folder.
    """
    check_whole(out, source)
    if out.is_dir() and any(out.iterdir()):
        _check_replaceable(out, files)


def check_whole(out: Path, source: Path | None) -> None:
    """UserError if the folder cannot be created, or contains AUGPIPE_HOME, the working directory or the images."""
    check_place(out, source, "the out folder")
    place = out.resolve()
    for folder, what in (
        (home(), "AUGPIPE_HOME"),
        (Path.cwd(), "the working directory"),
        (source, "the images"),
    ):
        if folder is not None and folder.resolve().is_relative_to(place):
            raise UserError(
                f"the out folder {out} would be replaced completely but holds {what}; choose another --out"
            )
    if place.is_mount():
        raise UserError(
            f"the out folder {out} is a mount point and cannot be replaced; choose a folder below it"
        )


def _check_replaceable(out: Path, files: Sequence[str]) -> None:
    """UserError if the folder contains anything that a run has not written."""
    try:
        names = {p.relative_to(out).as_posix() for p in out.rglob("*")}
    except OSError as error:
        raise UserError(f"cannot read the out folder {out}: {error.strerror}") from None
    samples = "samples/*.png" if "samples" in files else ""
    foreign = sorted(n for n in names if n not in files and not fnmatch(n, samples))
    if foreign or not {name for name in files if name.endswith((".json", ".yaml"))} <= names:
        what = f"holds {foreign[0]!r}, which no run has written" if foreign else "is not a run's"
        raise UserError(f"the out folder {out} {what}; choose another --out")


def check_place(place: Path, source: Path | None, what: str) -> None:
    """UserError if the folder `place` cannot be created or written to, or lies below `source`."""
    resolved = place.resolve()
    if set("?#") & set(str(resolved)) and what == "AUGPIPE_HOME":
        # A database URL cannot contain them: the file would end up elsewhere.
        raise UserError(f"{what} {place} contains ? or #; choose another path")
    if source is not None and resolved.is_relative_to(source.resolve()):
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
            raise UserError(
                f"cannot write to {what} {place}: {error.strerror} in {parent}"
            ) from None


def _first(path: Path) -> Path:
    """The path itself or its nearest existing parent."""
    return next(p for p in (path, *path.parents) if p.exists())


def write(results: Results, out: Path) -> None:
    """Write every file of a run to `out` atomically."""
    # Imported late: plotting libraries are slow to import, and config errors should appear first.
    from augpipe.report.page import page

    check_out(out)  # again: the folder may have changed since the run started
    with beside(out) as draft:
        (draft / "samples").mkdir(parents=True)
        results.scores.to_csv(draft / "scores.csv", index=False)
        results.quality.fidelity.to_csv(draft / "fidelity.csv", index=False)
        results.quarantine.to_csv(draft / "quarantine.csv", index=False)
        write_json(draft / "summary.json", results.summary())
        (draft / "experiment.yaml").write_text(dump(results.requested), encoding="utf-8")
        for generator in results.generators:
            images = generator.samples.images
            columns = max(1, len(images) // len(results.classes))
            picture = grid(images, columns, scale=max(1, 48 // images.shape[2]))
            picture.save(draft / "samples" / f"{generator.name}.png")
            # Generator names cannot contain ~.
            triples = results.quality.galleries[generator.name].images
            if len(triples):
                picture = grid(triples, 3, scale=max(1, 48 // triples.shape[2]))
                picture.save(draft / "samples" / f"{generator.name}~nearest.png")
        (draft / "report.html").write_text(page(results), encoding="utf-8")
