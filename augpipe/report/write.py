"""The out folder: written beside, then renamed. The contract of DESIGN and README."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.core.images import grid
from augpipe.core.store import beside, write_json
from augpipe.pipeline.experiment import dump
from augpipe.report.results import Results

FILES: Final = (
    "report.html", "scores.csv", "fidelity.csv", "summary.json", "experiment.yaml", "samples",
    "quarantine.csv",
)  # fmt: skip


def check_out(out: Path, source: Path | None = None, files: Sequence[str] = FILES) -> None:
    """UserError where `out` cannot become a run's folder: checked before any work is done, and at its end.

    A run replaces the folder of an earlier run, never a folder with anything else in it, and never writes
    below the folder that the images come from. files: what such a folder holds.
    """
    check_whole(out, source)
    if out.is_dir() and any(out.iterdir()):
        _check_replaceable(out, files)


def check_whole(out: Path, source: Path | None) -> None:
    """UserError where a folder that is replaced as a whole cannot be made, or holds what a run works in."""
    check_place(out, source, "the out folder")
    place = out.resolve()
    for keep, what in (
        (home(), "AUGPIPE_HOME"),
        (Path.cwd(), "the working directory"),
        (source, "the images"),
    ):
        if keep is not None and keep.resolve().is_relative_to(place):
            raise UserError(
                f"the out folder {out} is replaced as a whole and holds {what}; choose another --out"
            )
    if place.is_mount():
        raise UserError(
            f"the out folder {out} is a mount point and cannot be replaced; choose one below it"
        )


def _check_replaceable(out: Path, files: Sequence[str]) -> None:
    """UserError for a folder with anything in it that a run has not written."""
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
    """UserError where a folder `place` cannot be made or written to, or lies below `source`."""
    whole = place.resolve()
    if set("?#") & set(str(whole)) and what == "AUGPIPE_HOME":
        # The address of a database file cannot hold them: it would lie elsewhere.
        raise UserError(f"{what} {place} has a ? or # in it; choose another place")
    if source is not None and whole.is_relative_to(source.resolve()):
        raise UserError(
            f"{what} {place} lies in the image folder {source}, where nothing is written; choose another place"
        )
    # A folder is written beside and renamed: its parent has to let it.
    for ground in {_first(whole), _first(whole.parent)}:
        if not ground.is_dir():
            raise UserError(f"{what} {place} cannot be a folder: {ground} is a file")
        try:
            with tempfile.TemporaryDirectory(prefix=".augpipe-", dir=ground):
                pass
        except OSError as error:
            raise UserError(
                f"cannot write to {what} {place}: {error.strerror} in {ground}"
            ) from None


def _first(path: Path) -> Path:
    """The nearest that exists of a path and its parents."""
    return next(p for p in (path, *path.parents) if p.exists())


def write(results: Results, out: Path) -> None:
    """Every file of the contract; `out` appears, or changes, as a whole."""
    # Drawing is imported when there is something to draw: a mistake in the config is told sooner.
    from augpipe.report.page import page

    check_out(out)  # once more: much may have come there since the run began
    with beside(out) as draft:
        (draft / "samples").mkdir(parents=True)
        results.scores.to_csv(draft / "scores.csv", index=False)
        results.judged.fidelity.to_csv(draft / "fidelity.csv", index=False)
        results.quarantine.to_csv(draft / "quarantine.csv", index=False)
        write_json(draft / "summary.json", results.summary())
        (draft / "experiment.yaml").write_text(dump(results.asked), encoding="utf-8")
        for generator in results.generators:
            images = generator.samples.images
            columns = max(1, len(images) // len(results.classes))
            picture = grid(images, columns, scale=max(1, 48 // images.shape[2]))
            picture.save(draft / "samples" / f"{generator.name}.png")
            # No generator's name has a ~ in it.
            threes = results.judged.galleries[generator.name].images
            if len(threes):
                picture = grid(threes, 3, scale=max(1, 48 // threes.shape[2]))
                picture.save(draft / "samples" / f"{generator.name}~nearest.png")
        (draft / "report.html").write_text(page(results), encoding="utf-8")
