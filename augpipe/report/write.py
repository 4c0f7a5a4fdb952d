"""The out folder: written beside, then renamed. The contract of DESIGN and README."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from augpipe.config import dump
from augpipe.errors import UserError
from augpipe.grids import grid
from augpipe.report.page import page
from augpipe.report.results import Results
from augpipe.store import beside, write_json

FILES: Final = (
    "report.html", "scores.csv", "fidelity.csv", "summary.json", "experiment.yaml", "samples",
)  # fmt: skip


def check_out(out: Path, source: Path | None = None) -> None:
    """UserError where `out` cannot become a run's folder: checked before any work is done.

    A run replaces the folder of an earlier run, never a folder with anything else in it, and never writes
    below the folder that the images come from.
    """
    check_place(out, source, "the out folder")
    if not out.is_dir():
        return
    try:
        foreign = sorted(p.name for p in out.iterdir() if p.name not in FILES)
    except OSError as error:
        raise UserError(f"cannot read the out folder {out}: {error.strerror}") from None
    if foreign:
        raise UserError(
            f"the out folder {out} holds {foreign[0]!r}, which no run has written; choose another --out"
        )


def check_place(place: Path, source: Path | None, what: str) -> None:
    """UserError where a folder `place` cannot be made or written to, or lies below `source`."""
    if source is not None and _inside(place, source):
        raise UserError(f"{what} {place} lies in the image folder {source}; choose another place")
    ground = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not ground.is_dir():
        raise UserError(f"{what} {place} cannot be a folder: {ground} is a file")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {what} {place}: no permission in {ground}")


def _inside(inner: Path, outer: Path) -> bool:
    return inner.resolve().is_relative_to(outer.resolve())


def write(results: Results, out: Path) -> None:
    """Every file of the contract; `out` appears, or changes, as a whole."""
    with beside(out) as draft:
        (draft / "samples").mkdir(parents=True)
        results.scores.to_csv(draft / "scores.csv", index=False)
        results.fidelity.to_csv(draft / "fidelity.csv", index=False)
        write_json(draft / "summary.json", results.summary())
        (draft / "experiment.yaml").write_text(dump(results.experiment))
        for generator in results.generators:
            images = generator.samples.images
            columns = max(1, len(images) // len(results.classes))
            picture = grid(images, columns, scale=max(1, 48 // images.shape[2]))
            picture.save(draft / "samples" / f"{generator.name}.png")
        (draft / "report.html").write_text(page(results))
