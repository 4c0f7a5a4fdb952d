"""Prefect artifacts of a comparison: the verdict, the table of arms, a sample grid, a link to MLflow."""

from __future__ import annotations

import base64
import io
import re
from typing import Any, Final

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from augpipe.comparison.options import LABELS
from augpipe.core.images import grid
from augpipe.report.results import Results

LARGEST: Final = 400_000  # maximum bytes of an image: Prefect stores artifacts in its database


def create_artifacts(results: Results, run: str) -> None:
    """Create the artifacts of the current flow run. run: URL of its MLflow run, or ""."""
    key = slug(results.experiment.name)
    create_markdown_artifact(_verdict(results), f"{key}-verdict", "Do synthetic images help here?")
    create_table_artifact(_table(results), f"{key}-arms", f"Arms, in points of {_metric(results)}")
    picture = _samples(results)
    if picture:
        caption = f"Samples of {results.generators[0].name}: one row per class"
        create_image_artifact(picture, f"{key}-samples", caption)
    if run:
        create_link_artifact(run, "MLflow run", f"{key}-tracking", "MLflow run of this comparison")


def _metric(results: Results) -> str:
    return LABELS[results.comparison.metric]


def slug(name: str) -> str:
    """A name as an artifact key: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def plain(text: str) -> str:
    """Text with the special characters of Markdown and HTML escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\\\`*_{}\[\]()#+!|~])", r"\\\1", text)


def _verdict(results: Results) -> str:
    lines = [plain(results.verdict), ""]
    lines += [f"- {plain(arm)} failed: {plain(why)}" for arm, why in results.failed.items()]
    sides = ", ".join(f"{len(images)} {name}" for name, images in results.splits.items())
    lines += [
        "",
        f"{len(results.classes)} classes; {sides}; {len(results.experiment.seeds)} seeds; "
        f"fingerprint {results.fingerprint}",
    ]
    return "\n".join(lines)


def _table(results: Results) -> list[dict[str, Any]]:
    comparison = results.comparison
    rows: list[dict[str, Any]] = []
    for result in results.arms:
        name = result.arm.name
        gain, level = comparison.over_baseline.get(name), comparison.levels[name]
        row = {
            "arm": name,
            _metric(results): f"{100 * level.mean:.1f}",
            "interval": f"{100 * level.low:.1f} to {100 * level.high:.1f}",
            f"gain over {comparison.baseline}": "baseline",
            "gain's interval": "",
            "p": "",
            "verdict": "",
        }
        if gain is not None:
            interval = gain.shown
            row[f"gain over {comparison.baseline}"] = f"{100 * interval.mean:+.1f}"
            row["gain's interval"] = f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
            row |= {"p": f"{gain.shown_p:.2g}", "verdict": gain.verdict}
        rows.append(row)
    rows += [{"arm": arm, "verdict": f"failed: {why}"} for arm, why in results.failed.items()]
    return rows


def _samples(results: Results) -> str:
    """The first generator's samples as a data URL; "" without a generator or above LARGEST bytes."""
    if not results.generators:
        return ""
    images = results.generators[0].samples.images
    picture = io.BytesIO()
    grid(images, max(1, len(images) // len(results.classes)), scale=1).save(picture, format="PNG")
    if picture.tell() > LARGEST:
        return ""
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
