"""The balanced set of an arm as files: class folders, manifest.csv with lineage, and a data card."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.core.images import REAL, ImageSet
from augpipe.core.store import beside, load_images, load_table, write_json
from augpipe.pipeline.experiment import Arm, Experiment, dump
from augpipe.pipeline.records import Measured, Prepared, Synthetic, TrainedGenerator
from augpipe.report.judged import kept_rows
from augpipe.report.judgement import HEADLINE, MEMORISED
from augpipe.report.results import versions
from augpipe.report.write import check_whole
from augpipe.synthetic.gates import Outcome

FILES: Final = ("manifest.csv", "card.md", "card.json", "fidelity.csv", "experiment.yaml")
KIND: Final = "augpipe balanced set"
LONGEST: Final = 120  # bytes of a class's folder, of the 255 that file systems take


@dataclass(frozen=True)
class Balanced:
    """All that a balanced set is written from. override: why it is published although a gate does not hold."""

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
        """Of the published synthetic images, with the checks' kept shares."""
        funnel = load_table(self.made.funnel)
        return pd.concat([load_table(self.measured.table), kept_rows(funnel)], ignore_index=True)


def check_out(out: Path, source: Path | None) -> None:
    """UserError where `out` cannot become a balanced set's folder; an earlier one's is replaced as a whole."""
    check_whole(out, source)
    if not out.is_dir() or not any(out.iterdir()):
        return
    known = set(FILES)
    if all((out / name).is_file() for name in FILES):
        known |= _files_of(out / "manifest.csv")
        known |= {str(Path(name).parent) for name in known}
    foreign = sorted(
        name
        for name in (p.relative_to(out).as_posix() for p in out.rglob("*"))
        if name not in known
    )
    if foreign:
        raise UserError(
            f"the out folder {out} holds {foreign[0]!r}, which no balanced set has; choose another --out"
        )


def _files_of(manifest: Path) -> set[str]:
    """Names in a manifest's column of files; none where it is no manifest."""
    try:
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    except ValueError:  # whatever pandas cannot read
        return set()
    return set(table["file"]) if "file" in table else set()


def folder_names(classes: Sequence[str]) -> list[str]:
    """Class names as folders: no separators, no leading dot, all different even where case does not count."""
    names: list[str] = []
    taken = {name.casefold() for name in FILES}
    for label, name in enumerate(classes):
        plain = re.sub(r"[^\w .+-]", "_", unicodedata.normalize("NFC", name))
        plain = plain.encode()[:LONGEST].decode(errors="ignore").strip(" .") or "class"
        own, at = plain, label
        while own.casefold() in taken:
            own, at = f"{plain}_{at}", at + 1
        names.append(own)
        taken.add(own.casefold())
    return names


def publish(found: Balanced, out: Path) -> None:
    """Every file of the set; `out` appears, or changes, as a whole."""
    check_out(out, None)  # once more: a generator was trained since the set was asked for
    real = load_images(found.prepared.splits.train)
    made = load_images(found.made.images)
    with beside(out) as draft:
        draft.mkdir(parents=True)
        manifest = pd.concat(
            [_real_rows(found, real), _synthetic_rows(found, made)], ignore_index=True
        )
        for images, names in (
            (real, manifest.file[: len(real)]),
            (made, manifest.file[len(real) :]),
        ):
            _pictures(images, draft, list(names))
        manifest.to_csv(draft / "manifest.csv", index=False)
        found.fidelity.to_csv(draft / "fidelity.csv", index=False)
        (draft / "experiment.yaml").write_text(dump(found.experiment), encoding="utf-8")
        card = card_of(found, real, made)
        write_json(draft / "card.json", card)
        (draft / "card.md").write_text(card_text(card), encoding="utf-8")


def _pictures(images: ImageSet, folder: Path, names: list[str]) -> None:
    for name in {str(Path(name).parent) for name in names}:
        (folder / name).mkdir(exist_ok=True)
    for pixels, name in zip(images.images, names, strict=True):
        channels = np.array(pixels)
        picture = Image.fromarray(
            channels[0] if len(channels) == 1 else channels.transpose(1, 2, 0)
        )
        picture.save(folder / name, format="PNG")


def _rows(found: Balanced, images: ImageSet, kind: str) -> pd.DataFrame:
    folders = folder_names(images.classes)
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


def _real_rows(found: Balanced, real: ImageSet) -> pd.DataFrame:
    return _rows(found, real, REAL)


def _synthetic_rows(found: Balanced, made: ImageSet) -> pd.DataFrame:
    """With the generator, its checkpoint's digest, its seed, and what each check saw."""
    table = _rows(found, made, "synthetic")
    table["generator"] = found.generator.name
    table["checkpoint"] = found.generator.checkpoint.sha256
    table["seed"] = str(found.generator.seed)
    values = load_table(found.made.checks).drop(columns="id")
    return table.join(values.add_prefix("check_"))


def card_of(found: Balanced, real: ImageSet, made: ImageSet) -> dict[str, Any]:
    """The data card as plain values."""
    table, name = found.fidelity, found.generator.name
    config = found.experiment.generators[name]
    figures = table[(table["class"] == "") & table.metric.isin([*HEADLINE, *MEMORISED])]
    kept = table[table.metric.str.startswith("kept")]
    return {
        "kind": KIND,
        "name": found.experiment.name,
        "arm": found.arm.name,
        "made_from": {
            "source": found.experiment.source.kind,
            "source_fingerprint": found.prepared.intake.fingerprint,
            "data_fingerprint": found.prepared.fingerprint,
            "image": list(real.spec.shape),
            "real": _named(real),
        },
        "synthetic": _named(made),
        "missing": {real.classes[c]: n for c, n in found.made.short.items()},
        "generator": {
            "name": name,
            "kind": config.kind,
            "config": config.model_dump(mode="json"),
            "checkpoint": found.generator.checkpoint.sha256,
            "seed": found.generator.seed,
            "kimg": found.generator.best_kimg,
            "stopped": found.generator.stopped,
        },
        "checks": {
            "curated": found.experiment.curates(found.arm),
            "options": found.experiment.curation.model_dump(mode="json"),
            "kept": {
                f"{m}{f'/{c}' if c else ''}": _number(v)
                for c, m, v in zip(kept["class"], kept.metric, kept.value, strict=True)
            },
        },
        "figures": {
            m: {"value": _number(v), "n_real": int(a), "n_synthetic": int(b), "note": note}
            for m, v, a, b, note in zip(
                figures.metric, figures.value, figures.n_real, figures.n_synthetic, figures.note,
                strict=True,
            )
        },
        "gates": [{"gate": g.gate, "holds": g.holds, "told": g.told} for g in found.gates],
        "override": found.override,
        "limits": list(LIMITS),
        "versions": versions(),
    }  # fmt: skip


LIMITS: Final = (
    "Synthetic images stand for the training images they were learned from, and for no one else's: what those "
    "lack, or hold too much of, is lacking or too much here.",
    "Checks and figures were made with a classifier of the same training images and against the held-out (val) "
    "images alone; the test images were never looked at.",
    "A memorisation test that finds nothing is no proof of privacy: it can miss single copies, the more so the "
    "fewer held-out images there are.",
    "Real images of this set are real: it is no anonymous set.",
)


def _named(images: ImageSet) -> dict[str, int]:
    return {images.classes[c]: n for c, n in images.counts().items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def card_text(card: dict[str, Any]) -> str:
    """The card as Markdown; names from the data cannot break its tables."""
    made, real = card["synthetic"], card["made_from"]["real"]
    generator = card["generator"]
    lines = [
        f"# {_plain(card['name'])}, arm {_plain(card['arm'])}: balanced set",
        "",
        f"Made from {sum(real.values())} real training images (source {card['made_from']['source']}, fingerprint "
        f"{card['made_from']['data_fingerprint']}) and {sum(made.values())} synthetic ones of {generator['kind']} "
        f"`{generator['name']}`, seed {generator['seed']}, checkpoint {generator['checkpoint'][:20]} at "
        f"{generator['kimg']:g} kimg.",
        "",
        "| class | real | synthetic | missing |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_plain(c)} | {n} | {made[c]} | {card['missing'].get(c, 0)} |" for c, n in real.items()
    ]
    lines += ["", "## Gates", "", "| gate | outcome | figure |", "| --- | --- | --- |"]
    lines += [
        f"| {_plain(g['gate'])} | {'holds' if g['holds'] else '**does not hold**'} | {_plain(g['told'])} |"
        for g in card["gates"]
    ]
    if card["override"] is not None:
        lines += [
            "",
            f"Published although a gate does not hold, because: {_plain(card['override'])}",
        ]
    lines += ["", "## Figures of the synthetic images", "", "| figure | value | real / synthetic |"]
    lines += ["| --- | --- | --- |"]
    lines += [
        f"| {m} | {_plain(f['note']) if f['value'] is None else format(f['value'], '.4g')} | "
        f"{f['n_real']} / {f['n_synthetic']} |"
        for m, f in card["figures"].items()
    ]
    if card["checks"]["kept"]:
        lines += ["", "## Kept by the checks", "", "| check | share |", "| --- | --- |"]
        lines += [
            f"| {_plain(name)} | {'–' if share is None else format(share, '.3f')} |"
            for name, share in card["checks"]["kept"].items()
        ]
    lines += ["", "## Limits", "", *(f"- {line}" for line in card["limits"]), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that stays one cell: no line ends, bars, backticks, tags or entities."""
    line = " ".join(str(text).split())
    return re.sub(r"([|`<>&\\*_\[\]])", r"\\\1", line)
