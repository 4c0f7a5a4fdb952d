"""Write the output of `augpipe inspect`: a self-contained page, the facts as JSON, and a list of unusable files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.csv_files import write_csv
from augpipe.core.files import beside, write_json
from augpipe.core.options import ImageOptions
from augpipe.data.duplicate_groups import DuplicateGroups
from augpipe.data.duplicates import BITS, CORRELATION
from augpipe.data.inspect import Inspection, pictures, sheet_rows
from augpipe.data.split_check import NAMES
from augpipe.report.figures import image_strip, side_bars
from augpipe.report.page_templates import TEMPLATES

BAD: Final = 200  # bad files that the page lists
CHARTED: Final = 60  # classes whose bars can be distinguished
WORDS: Final = {"stop": "prevents a run", "leak": "leak", "warning": "note"}


def write_inspection(inspection: Inspection, options: ImageOptions, name: str, out: Path) -> None:
    """Write every file to `out` atomically."""
    with beside(out) as draft:
        draft.mkdir(parents=True)
        write_csv(inspection.quarantine(), draft / "quarantine.csv")
        write_json(draft / "inspect.json", inspection.facts())
        page = inspection_page(inspection, options, name)
        (draft / "inspect.html").write_text(page, encoding="utf-8")


def inspection_page(inspection: Inspection, options: ImageOptions, name: str) -> str:
    """HTML page that describes a source."""
    facts = inspection.facts()
    sides = [side for side in NAMES if facts["classes"] and side in facts["classes"][0]]
    classes = inspection.intake.listing.classes
    bars = {side: list(inspection.counts(side).values()) for side in sides}
    ratios = {side: "–" if r is None else f"{r:.1f}" for side, r in facts["imbalance_ratio"].items()}
    sheets = sheet_rows(inspection)
    twins = [row for of in (inspection.equal, inspection.near) for group in of.examples for row in group]
    images = pictures(inspection, [*twins, *(row for rows in sheets.values() for row in rows)], options)
    return TEMPLATES.get_template("inspection.html").render(
        name=name,
        facts=facts,
        ratio=ratios["all"] if facts["imbalance_ratio"]["all"] else "",
        ratios=ratios,
        sides=sides,
        shift=inspection.shift is not None,
        words=WORDS,
        figure=side_bars(classes, bars or {"images": list(inspection.counts().values())})
        if 0 < len(classes) <= CHARTED
        else None,
        duplicates=[
            (what, facts["duplicates"][key], _strips(inspection, twins, images))
            for what, key, twins in (("Equal", "equal", inspection.equal), ("Nearly equal", "near", inspection.near))
        ],
        bits=BITS,
        correlation=CORRELATION,
        bad=inspection.intake.bad[:BAD],
        bad_more=max(0, len(inspection.intake.bad) - BAD),
        sheets=[(of, _strip(images, rows) if rows else "") for of, rows in sheets.items()],
        sheets_more=len(classes) - len(sheets),
    )


def _strip(images: Mapping[int, NDArray[np.uint8]], rows: Sequence[int]) -> str:
    return image_strip(np.stack([images[row] for row in rows]))


def _strips(
    inspection: Inspection, twins: DuplicateGroups, images: Mapping[int, NDArray[np.uint8]]
) -> list[tuple[str, str]]:
    """Strips of the example groups, each with a description of its images."""
    strips = []
    for rows in twins.examples:
        description = "; ".join(_describe(inspection.named(row)) for row in rows)
        strips.append((_strip(images, rows), description))
    return strips


def _describe(image: dict[str, Any]) -> str:
    side = f", {image['side']}" if image["side"] else ""
    return f"{image['id']} ({image['class']}{side})"
