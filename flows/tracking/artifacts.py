"""What Prefect's page shows of a comparison: the verdict, the table of arms, a sample grid, the way to MLflow."""

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

from augpipe.core.images import grid
from augpipe.report.results import Results

LARGEST: Final = 400_000  # bytes of a picture: Prefect keeps artifacts in its database


def leave(results: Results, run: str) -> None:
    """Create the artifacts of the flow run at work. run: address of its MLflow run, "" where it has none."""
    key = slug(results.experiment.name)
    create_markdown_artifact(_verdict(results), f"{key}-verdict", "Do synthetic images help here?")
    create_table_artifact(_table(results), f"{key}-arms", "Arms, in points of macro recall")
    picture = _samples(results)
    if picture:
        told = f"Samples of {results.generators[0].name}: a row a class"
        create_image_artifact(picture, f"{key}-samples", told)
    if run:
        create_link_artifact(run, "MLflow run", f"{key}-tracking", "The run's record")


def slug(name: str) -> str:
    """A name as Prefect's keys are: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def plain(text: str) -> str:
    """Text in which Markdown and HTML find nothing of theirs."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\\\`*_{}\[\]()#+!|~])", r"\\\1", text)


def _verdict(results: Results) -> str:
    lines = [plain(results.comparison.sentence), ""]
    lines += [f"- {plain(arm)} failed: {plain(why)}" for arm, why in results.failed.items()]
    sides = ", ".join(f"{len(images)} {name}" for name, images in results.splits.items())
    lines += [
        "",
        f"{len(results.classes)} classes; {sides}; {len(results.experiment.seeds)} seeds; "
        f"fingerprint {results.fingerprint}",
    ]
    return "\n".join(lines)


def _table(results: Results) -> list[dict[str, Any]]:
    found = results.comparison
    rows: list[dict[str, Any]] = []
    for result in results.arms:
        name, own = result.arm.name, found.over_baseline.get(result.arm.name)
        level = found.levels[name]
        row = {
            "arm": name,
            "macro recall": f"{100 * level.mean:.1f}",
            "interval": f"{100 * level.low:.1f} to {100 * level.high:.1f}",
            f"gain over {found.baseline}": "baseline",
            "gain's interval": "",
            "p (Holm)": "",
            "verdict": "",
        }
        if own is not None:
            i = own.interval
            row[f"gain over {found.baseline}"] = f"{100 * i.mean:+.1f}"
            row["gain's interval"] = f"{100 * i.low:+.1f} to {100 * i.high:+.1f}"
            row |= {"p (Holm)": f"{own.p_holm:.2g}", "verdict": own.verdict}
        rows.append(row)
    rows += [{"arm": arm, "verdict": f"failed: {why}"} for arm, why in results.failed.items()]
    return rows


def _samples(results: Results) -> str:
    """The first generator's samples as a data address; "" where there are none, or too many to be kept so."""
    if not results.generators:
        return ""
    images = results.generators[0].samples.images
    picture = io.BytesIO()
    grid(images, max(1, len(images) // len(results.classes)), scale=1).save(picture, format="PNG")
    if picture.tell() > LARGEST:
        return ""
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
