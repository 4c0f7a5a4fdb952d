"""The report's sections on fidelity, memorisation, curation and gates, as plain rows for the template."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from augpipe.report.figures import image_strip
from augpipe.report.quality import Quality

# Metrics in the first tables of the page; fidelity.csv has all.
HEADLINE: Final = (
    "agreement",
    "kid",
    "fid",
    "precision",
    "recall",
    "density",
    "coverage",
    "one_nn",
    "ssim",
    "ssim_real",
    "gan_train",
)
MEMORISED: Final = (
    "memorisation.p",
    "memorisation.p_features",
    "memorisation.p_pixels",
    "memorisation.near_copies",
    "memorisation.nearer",
    "memorisation.membership_auc",
)
GALLERY: Final = 8  # triples that the page shows of each generator
GALLERIES: Final = 1_500_000  # bytes of the page
MOST_NOTES: Final = 6  # notes on missing values that the page shows


def sections(quality: Quality, classes: int, room: float = 1.0) -> dict[str, Any]:
    """Data of the template's sections; classes: how many are listed one by one; room: fraction of GALLERIES."""
    table, galleries = quality.fidelity, _galleries(quality, room)
    return {
        "fidelity": _wide(table, HEADLINE, classes),
        "memorisation": _wide(table, MEMORISED, classes),
        "others": _overall(table),
        "curation": _curation(quality, classes),
        "galleries": galleries,
        "galleries_left": [name for name, gallery in galleries if not gallery and len(quality.galleries[name].images)],
        "gates": [
            (name, outcome.gate, "holds" if outcome.holds else "does not hold", outcome.detail)
            for name, outcomes in quality.gates.items()
            for outcome in outcomes
        ],
    }


def _cell(value: float, note: str) -> str:
    return f"{value:.3g}" if np.isfinite(value) else note or "–"


def _wide(table: pd.DataFrame, metrics: tuple[str, ...], classes: int) -> dict[str, Any]:
    """Rows per generator (`whole`) and per generator and class (`single`), one column a metric;
    notes: notes on missing values.
    """
    have = [m for m in metrics if (table.metric == m).any()]
    whole, single = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    notes = dict[str, None]()
    for generator, values in table[table.metric.isin(have)].groupby("generator", sort=False):
        for name, part in list(values.groupby("class", sort=False))[: classes + 1]:
            cells = {r.metric: _cell(float(r.value), "") for r in part.itertuples(index=False)}
            on = f"{int(part.n_real.max())} / {int(part.n_synthetic.max())}"
            row = (generator, name or "all", on, [cells.get(m, "–") for m in have])
            (single if name else whole).append(row)
        missing = values[~np.isfinite(values.value.astype(float))]
        notes |= {f"{r.metric} {r.note}": None for r in missing.itertuples(index=False)}
    return {"metrics": have, "whole": whole, "single": single, "notes": list(notes)[:MOST_NOTES]}


def _overall(table: pd.DataFrame) -> dict[str, Any]:
    """The other metrics over all images: one row a metric, one column a generator."""
    shown = {*HEADLINE, *MEMORISED}
    values = table[(table["class"] == "") & ~table.metric.isin(shown) & ~table.metric.str.startswith("kept")]
    generators = list(dict.fromkeys(values.generator))
    rows = []
    for metric, part in values.groupby("metric", sort=False):
        cells = {r.generator: _cell(float(r.value), str(r.note)) for r in part.itertuples(index=False)}
        rows.append((metric, [cells.get(name, "–") for name in generators]))
    return {"generators": generators, "rows": rows}


def _curation(quality: Quality, classes: int) -> dict[str, Any]:
    """Pass rate of each check, overall and by class."""
    table = quality.fidelity[quality.fidelity.metric.str.startswith("kept")]
    names = list(dict.fromkeys(table.metric))
    rows = []
    for generator, values in table.groupby("generator", sort=False):
        for name, part in list(values.groupby("class", sort=False))[: classes + 1]:
            cells = {r.metric: _cell(float(r.value), "") for r in part.itertuples(index=False)}
            rows.append((generator, name or "all", int(part.n_synthetic.max()), [cells.get(m, "–") for m in names]))
    return {"checks": [n.removeprefix("kept.") if n != "kept" else "all" for n in names], "rows": rows}


def _galleries(quality: Quality, room: float) -> list[tuple[str, list[tuple[str, str]]]]:
    """Gallery of each generator; empty for those beyond the page's size budget (samples/ has all)."""
    shown, used = list[tuple[str, list[tuple[str, str]]]](), 0
    for name in quality.galleries:
        gallery = _gallery(quality, name)
        size = sum(len(strip) for _, strip in gallery)
        fits = used + size <= room * GALLERIES
        used += size if fits else 0
        shown.append((name, gallery if fits else []))
    return shown


def _gallery(quality: Quality, name: str) -> list[tuple[str, str]]:
    """(label, strip) of the synthetic images most like train images, and their neighbours."""
    images = quality.galleries[name].images[: 3 * GALLERY]
    if not len(images):
        return []
    labels = ("synthetic", "nearest training image", "nearest held-out image")
    return [(label, image_strip(images[at::3])) for at, label in enumerate(labels)]
