"""What `augpipe inspect` leaves: a self-contained page, the facts as JSON, and the files that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.options import ImageOptions
from augpipe.core.store import beside, write_json
from augpipe.data.duplicates import BITS, CORRELATION
from augpipe.data.inspect import Inspection, Twins, pictures, sheet_rows
from augpipe.data.quarantine import quarantine
from augpipe.data.split import NAMES
from augpipe.report.figures import image_strip, side_bars
from augpipe.report.page import TEMPLATES

FILES: Final = ("inspect.html", "inspect.json", "quarantine.csv")
BAD: Final = 200  # bad files that the page lists
CHARTED: Final = 60  # classes whose bars can be told apart
WORDS: Final = {"stop": "stops a run", "leak": "leak", "warning": "worth knowing"}


def write_inspection(found: Inspection, options: ImageOptions, name: str, out: Path) -> None:
    """Every file, written beside and renamed."""
    with beside(out) as draft:
        draft.mkdir(parents=True)
        write_json(draft / "inspect.json", found.facts())
        quarantine(found.intake.bad, {}).to_csv(draft / "quarantine.csv", index=False)
        page = inspection_page(found, options, name)
        (draft / "inspect.html").write_text(page, encoding="utf-8")


def inspection_page(found: Inspection, options: ImageOptions, name: str) -> str:
    """The page of a look at a source."""
    facts = found.facts()
    sides = [side for side in NAMES if facts["classes"] and side in facts["classes"][0]]
    classes = found.intake.listing.classes
    bars = {side: list(found.counts(side).values()) for side in sides}
    ratios = {of: "–" if r is None else f"{r:.1f}" for of, r in facts["imbalance_ratio"].items()}
    sheets = sheet_rows(found)
    twins = [row for of in (found.equal, found.near) for group in of.examples for row in group]
    images = pictures(found, [*twins, *(row for rows in sheets.values() for row in rows)], options)
    return TEMPLATES.get_template("inspection.html").render(
        name=name,
        facts=facts,
        ratio=ratios["all"] if facts["imbalance_ratio"]["all"] else "",
        ratios=ratios,
        sides=sides,
        words=WORDS,
        figure=side_bars(classes, bars or {"images": list(found.counts().values())})
        if 0 < len(classes) <= CHARTED
        else None,
        duplicates=[
            (what, facts["duplicates"][key], _strips(found, twins, images))
            for what, key, twins in (
                ("Equal", "equal", found.equal), ("Nearly equal", "near", found.near),
            )
        ],
        bits=BITS,
        correlation=CORRELATION,
        bad=found.intake.bad[:BAD],
        bad_more=max(0, len(found.intake.bad) - BAD),
        sheets=[
            (of, _strip(images, rows) if rows else "")
            for of, rows in sheets.items()
        ],
        sheets_more=len(classes) - len(sheets),
    )  # fmt: skip


def _strip(images: Mapping[int, NDArray[np.uint8]], rows: Sequence[int]) -> str:
    return image_strip(np.stack([images[row] for row in rows]))


def _strips(
    found: Inspection, twins: Twins, images: Mapping[int, NDArray[np.uint8]]
) -> list[tuple[str, str]]:
    """The shown groups as strips, with what each image is."""
    strips = []
    for rows in twins.examples:
        told = [found.named(row) for row in rows]
        words = "; ".join(_words(one) for one in told)
        strips.append((_strip(images, rows), words))
    return strips


def _words(one: dict[str, Any]) -> str:
    side = f", {one['side']}" if one["side"] else ""
    return f"{one['id']} ({one['class']}{side})"
