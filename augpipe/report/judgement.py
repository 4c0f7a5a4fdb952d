"""The report's sections on fidelity, memorisation, curation and gates, as plain rows for the template."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from augpipe.report.figures import image_strip
from augpipe.report.judged import JudgedResult

# Figures that the page's first tables show; every one is in fidelity.csv.
HEADLINE: Final = (
    "agreement", "kid", "fid", "precision", "recall", "density", "coverage", "one_nn",
    "ssim", "ssim_real", "gan_train",
)  # fmt: skip
MEMORISED: Final = (
    "memorisation.p", "memorisation.p_features", "memorisation.p_pixels", "memorisation.near_copies",
    "memorisation.nearer", "memorisation.membership_auc",
)  # fmt: skip
GALLERY: Final = 8  # threes that the page shows of each generator
GALLERIES: Final = 1_500_000  # bytes of the page
WORDS: Final = 6  # reasons why figures are not given that the page shows


def sections(found: JudgedResult, classes: int, room: float = 1.0) -> dict[str, Any]:
    """What the template's sections need; `classes`: how many of them are shown one by one; room: part of GALLERIES."""
    table, galleries = found.fidelity, _galleries(found, room)
    return {
        "fidelity": _wide(table, HEADLINE, classes),
        "memorisation": _wide(table, MEMORISED, classes),
        "others": _overall(table),
        "curation": _curation(found, classes),
        "galleries": galleries,
        "galleries_left": [
            name for name, own in galleries if not own and len(found.galleries[name].images)
        ],
        "gates": [
            (name, one.gate, "holds" if one.holds else "does not hold", one.told)
            for name, all_ in found.gates.items()
            for one in all_
        ],
    }


def _cell(value: float, note: str) -> str:
    return f"{value:.3g}" if np.isfinite(value) else note or "–"


def _wide(table: pd.DataFrame, metrics: tuple[str, ...], classes: int) -> dict[str, Any]:
    """A row a generator, then a row a generator and class; a column a figure. words: why some are not given."""
    have = [m for m in metrics if (table.metric == m).any()]
    whole, single = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    words = dict[str, None]()
    for generator, own in table[table.metric.isin(have)].groupby("generator", sort=False):
        for name, part in list(own.groupby("class", sort=False))[: classes + 1]:
            cells = {r.metric: _cell(float(r.value), "") for r in part.itertuples(index=False)}
            on = f"{int(part.n_real.max())} / {int(part.n_synthetic.max())}"
            row = (generator, name or "all", on, [cells.get(m, "–") for m in have])
            (single if name else whole).append(row)
        missing = own[~np.isfinite(own.value.astype(float))]
        words |= {f"{r.metric} {r.note}": None for r in missing.itertuples(index=False)}
    return {"metrics": have, "whole": whole, "single": single, "words": list(words)[:WORDS]}


def _overall(table: pd.DataFrame) -> dict[str, Any]:
    """Every further figure of all images, a row each, a column a generator."""
    shown = {*HEADLINE, *MEMORISED}
    own = table[
        (table["class"] == "") & ~table.metric.isin(shown) & ~table.metric.str.startswith("kept")
    ]
    generators = list(dict.fromkeys(own.generator))
    rows = []
    for metric, part in own.groupby("metric", sort=False):
        cells = {
            r.generator: _cell(float(r.value), str(r.note)) for r in part.itertuples(index=False)
        }
        rows.append((metric, [cells.get(name, "–") for name in generators]))
    return {"generators": generators, "rows": rows}


def _curation(found: JudgedResult, classes: int) -> dict[str, Any]:
    """Kept share of each check, overall and by class."""
    table = found.fidelity[found.fidelity.metric.str.startswith("kept")]
    names = list(dict.fromkeys(table.metric))
    rows = []
    for generator, own in table.groupby("generator", sort=False):
        for name, part in list(own.groupby("class", sort=False))[: classes + 1]:
            cells = {r.metric: _cell(float(r.value), "") for r in part.itertuples(index=False)}
            rows.append(
                (
                    generator,
                    name or "all",
                    int(part.n_synthetic.max()),
                    [cells.get(m, "–") for m in names],
                )
            )
    return {
        "checks": [n.removeprefix("kept.") if n != "kept" else "all" for n in names],
        "rows": rows,
    }


def _galleries(found: JudgedResult, room: float) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each generator's gallery, as far as the page's budget for them reaches: empty ones beyond; samples/ has all."""
    shown, used = list[tuple[str, list[tuple[str, str]]]](), 0
    for name in found.galleries:
        own = _gallery(found, name)
        size = sum(len(strip) for _, strip in own)
        fits = used + size <= room * GALLERIES
        used += size if fits else 0
        shown.append((name, own if fits else []))
    return shown


def _gallery(found: JudgedResult, name: str) -> list[tuple[str, str]]:
    """(what, strip) of the most suspicious images and their neighbours."""
    images = found.galleries[name].images[: 3 * GALLERY]
    if not len(images):
        return []
    told = ("synthetic", "nearest of train", "nearest held out")
    return [(what, image_strip(images[at::3])) for at, what in enumerate(told)]
