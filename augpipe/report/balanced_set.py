"""Write the balanced set of an arm: its images in one of several forms, their lineage, and a data card."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from augpipe.core.csv_files import write_csv
from augpipe.core.errors import one_line
from augpipe.core.files import beside, write_json
from augpipe.core.images import REAL, ImageSet
from augpipe.core.store import load_images, load_table
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment, dump
from augpipe.pipeline.records import Measured, Prepared, Synthetic, TrainedGenerator
from augpipe.report.class_folders import folder_names, pictures
from augpipe.report.credentials import Signing
from augpipe.report.croissant import croissant
from augpipe.report.forms import Content, Origin, write_form
from augpipe.report.out import BALANCED_FILES, CROISSANT, check_balanced_out
from augpipe.report.quality import kept_rows
from augpipe.report.quality_section import HEADLINE, MEMORISED
from augpipe.report.results import versions
from augpipe.report.shortcuts import c2st_of
from augpipe.synthetic.gates import Outcome
from augpipe.synthetic.shortcut import shortcut_of_counts, shortcut_row

KIND: Final = "augpipe balanced set"


@dataclass(frozen=True)
class Balanced:
    """Input of a balanced set; override: reason to publish although a gate does not hold."""

    experiment: Experiment
    arm: Arm
    prepared: Prepared
    generator: TrainedGenerator
    made: Synthetic
    measured: Measured
    gates: tuple[Outcome, ...]
    override: str | None = None

    @property
    def holds(self) -> bool:
        """Whether every gate holds."""
        return all(gate.holds for gate in self.gates)

    @property
    def fidelity(self) -> pd.DataFrame:
        """Metrics of the published synthetic images, with the pass rates of the checks."""
        funnel = load_table(self.made.funnel)
        table = measured_set(self.prepared, self.made, self.measured)
        return pd.concat([table, kept_rows(funnel)], ignore_index=True)


def measured_set(prepared: Prepared, made: Synthetic, measured: Measured) -> pd.DataFrame:
    """The fidelity figures of the synthetic images, and what their origin gives away of the class in the set."""
    table = load_table(measured.table)
    real, synthetic = (load_images(ref).counts() for ref in (prepared.splits.train, made.images))
    one = shortcut_of_counts(list(real.values()), [synthetic.get(c, 0) for c in real], c2st_of(table))
    return pd.concat([table, shortcut_row(one)], ignore_index=True)


def publish(
    balanced: Balanced,
    out: Path,
    originals: Iterable[Image.Image] | None = None,
    form: str = "folder",
    signing: Signing | None = None,
) -> None:
    """Write every file of the set to `out` atomically.

    originals: the real pictures at their own size, in the order of the train set; None: as the generator learned them.
    form: one of `forms.FORMS`; npz needs None. signing: signs the PNG files of synthetic images.
    """
    check_balanced_out(out)  # again: the folder may have changed while the generator was trained
    real = load_images(balanced.prepared.splits.train)
    synthetic = load_images(balanced.made.images)
    with beside(out) as draft:
        draft.mkdir(parents=True)
        manifest = pd.concat([_real_rows(balanced, real), _synthetic_rows(balanced, synthetic)], ignore_index=True)
        content = replace(_content(balanced, manifest, real, synthetic, originals), signing=signing)
        written = write_form(form, content, draft)
        own_size = originals is not None and written.sizes != {(real.spec.size, real.spec.size)}
        texts = {written.table: written.escaped, "fidelity.csv": write_csv(balanced.fidelity, draft / "fidelity.csv")}
        (draft / "experiment.yaml").write_text(dump(balanced.experiment), encoding="utf-8")
        card = {
            **card_of(balanced, real, synthetic, own_size),
            "form": form,
            "held_out": _held_out(balanced) if form == "npz" else {},
            "escaped": texts,
        }
        write_json(draft / "card.json", card)
        (draft / "card.md").write_text(card_text(card), encoding="utf-8")
        write_json(draft / CROISSANT, croissant(card, form, draft / written.table, draft))


def _content(
    balanced: Balanced,
    manifest: pd.DataFrame,
    real: ImageSet,
    synthetic: ImageSet,
    originals: Iterable[Image.Image] | None,
) -> Content:
    generator, splits = balanced.generator, balanced.prepared.splits
    origin = Origin(generator.name, generator.checkpoint.sha256, generator.seed)
    return Content(
        table=manifest,
        labels=np.concatenate([np.asarray(real.labels), np.asarray(synthetic.labels)]),
        classes=real.classes,
        pictures=chain(pictures(real) if originals is None else originals, pictures(synthetic)),
        origins=[None] * len(real) + [origin] * len(synthetic),
        split="train",
        held_out={"val": load_images(splits.val), "test": load_images(splits.test)},
    )


def _held_out(balanced: Balanced) -> dict[str, int]:
    splits = balanced.prepared.splits
    return {"val": len(load_images(splits.val)), "test": len(load_images(splits.test))}


def _rows(balanced: Balanced, images: ImageSet, kind: str) -> pd.DataFrame:
    folders = folder_names(images.classes, BALANCED_FILES)
    table = images.table
    return pd.DataFrame(
        {
            "file": [f"{folders[c]}/{kind}-{row:06d}.png" for row, c in enumerate(images.labels)],
            "class": [images.classes[c] for c in images.labels],
            "origin": table["origin"].to_numpy(),
            "id": table["id"].to_numpy(),
            "group": table["group"].to_numpy(),
            "source": table["source"].to_numpy(),
            "parent": table["parent"].to_numpy(),
        }
    )


def _real_rows(balanced: Balanced, real: ImageSet) -> pd.DataFrame:
    return _rows(balanced, real, REAL)


def _synthetic_rows(balanced: Balanced, synthetic: ImageSet) -> pd.DataFrame:
    """Rows of the synthetic images, with generator, checkpoint digest, seed, and the value of each check."""
    table = _rows(balanced, synthetic, "synthetic")
    table["generator"] = balanced.generator.name
    table["checkpoint"] = balanced.generator.checkpoint.sha256
    table["seed"] = str(balanced.generator.seed)
    values = load_table(balanced.made.checks).drop(columns="id")
    return table.join(values.add_prefix("check_"))


def card_of(balanced: Balanced, real: ImageSet, synthetic: ImageSet, own_size: bool = False) -> dict[str, Any]:
    """The data card as JSON values. own_size: whether the real pictures have their own size."""
    table = balanced.fidelity
    return {
        "kind": KIND,
        "name": balanced.experiment.name,
        "arm": balanced.arm.name,
        "made_from": {
            "source": balanced.experiment.source.kind,
            "source_fingerprint": balanced.prepared.intake.fingerprint,
            "data_fingerprint": balanced.prepared.fingerprint,
            "image": list(real.spec.shape),
            "real_size": "original" if own_size else "run",
            "real": _named(real),
        },
        "synthetic": _named(synthetic),
        "missing": {real.classes[c]: n for c, n in balanced.made.short.items()},
        "generator": _generator_of(balanced),
        "checks": {
            "curated": balanced.experiment.curates(balanced.arm),
            "options": balanced.experiment.curation.model_dump(mode="json"),
            "kept": _pass_rates(table),
        },
        "figures": _figures(table),
        "gates": [{"gate": g.gate, "holds": g.holds, "detail": g.detail} for g in balanced.gates],
        "override": balanced.override,
        "limits": [*LIMITS, *([SIZES.format(size=real.spec.size)] if own_size else [])],
        "versions": versions(),
    }


def _generator_of(balanced: Balanced) -> dict[str, Any]:
    trained = balanced.generator
    config = balanced.experiment.generators[trained.name]
    return {
        "name": trained.name,
        "kind": config.kind,
        "config": config.model_dump(mode="json"),
        "checkpoint": trained.checkpoint.sha256,
        "seed": trained.seed,
        "kimg": trained.best_kimg,
        "stopped": trained.stopped,
    }


def _pass_rates(table: pd.DataFrame) -> dict[str, float | None]:
    """Check, or check/class → fraction that passed."""
    rows = table[table.metric.str.startswith("kept")]
    return {
        f"{row.metric}/{of_class}" if of_class else row.metric: _number(row.value)
        for of_class, row in zip(rows["class"], rows.itertuples(), strict=True)
    }


def _figures(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Metric of all classes → value, number of images, note."""
    rows = table[(table["class"] == "") & table.metric.isin([*HEADLINE, *MEMORISED])]
    return {
        row.metric: {
            "value": _number(row.value),
            "n_real": int(row.n_real),
            "n_synthetic": int(row.n_synthetic),
            "note": row.note,
        }
        for row in rows.itertuples()
    }


LIMITS: Final = (
    "Synthetic images represent only the training images that the generator learned from: gaps and biases of the "
    "training images are also in the synthetic images.",
    "Checks and metrics use a classifier trained on the same training images, and only the held-out (val) images; "
    "the test images were not used.",
    "A memorisation test without a finding does not prove privacy: it can miss single copies, especially with few "
    "held-out images.",
    "The set contains the original real images: it is not anonymous.",
)


SIZES: Final = (
    "The real pictures have their own sizes, the synthetic ones {size}x{size} pixels: reduce all to one size before "
    "training, because a classifier can tell them apart by sharpness."
)


def _named(images: ImageSet) -> dict[str, int]:
    return {images.classes[c]: n for c, n in images.counts().items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def card_text(card: dict[str, Any]) -> str:
    """The card as Markdown; names from the data are escaped."""
    synthetic, real = card["synthetic"], card["made_from"]["real"]
    generator = card["generator"]
    lines = [
        f"# {escaped(card['name'])}, arm {escaped(card['arm'])}: balanced set",
        "",
        f"Contains {sum(real.values())} real training images (source {card['made_from']['source']}, fingerprint "
        f"{card['made_from']['data_fingerprint']}) and {sum(synthetic.values())} synthetic images from "
        f"{generator['kind']} `{generator['name']}`, seed {generator['seed']}, checkpoint "
        f"{generator['checkpoint'][:20]} at {generator['kimg']:g} kimg.",
        *_about_held_out(card["held_out"]),
        "",
        "| class | real | synthetic | missing |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {escaped(c)} | {n} | {synthetic[c]} | {card['missing'].get(c, 0)} |" for c, n in real.items()]
    lines += ["", "## Gates", "", "| gate | outcome | figure |", "| --- | --- | --- |"]
    lines += [
        f"| {escaped(g['gate'])} | {'holds' if g['holds'] else '**does not hold**'} | {escaped(g['detail'])} |"
        for g in card["gates"]
    ]
    if card["override"] is not None:
        lines += ["", f"Published although a gate does not hold: {escaped(card['override'])}"]
    lines += ["", "## Metrics of the synthetic images", "", "| metric | value | real / synthetic |"]
    lines += ["| --- | --- | --- |"]
    lines += [
        f"| {m} | {escaped(f['note']) if f['value'] is None else format(f['value'], '.4g')} | "
        f"{f['n_real']} / {f['n_synthetic']} |"
        for m, f in card["figures"].items()
    ]
    if card["checks"]["kept"]:
        lines += ["", "## Pass rates of the checks", "", "| check | fraction |", "| --- | --- |"]
        lines += [
            f"| {escaped(name)} | {'–' if fraction is None else format(fraction, '.3f')} |"
            for name, fraction in card["checks"]["kept"].items()
        ]
    lines += ["", "## Limits", "", *(f"- {line}" for line in card["limits"]), ""]
    return "\n".join(lines)


def _about_held_out(counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    parts = " and ".join(f"{n} {split}" for split, n in counts.items())
    return ["", f"The file also holds the {parts} images, all real."]


def escaped(text: object) -> str:
    """Text escaped for a table cell: no line breaks, bars, backticks, tags or entities."""
    line = one_line(text)
    return re.sub(r"([|`<>&\\*_\[\]])", r"\\\1", line)
