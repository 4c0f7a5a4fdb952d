"""Generators measured on real images: is what they draw of the class that was asked for, and is it varied?

python tests/benchmarks/bench_generators.py CONFIG --out FOLDER [--only NAME ...] [--set KEY=VALUE ...] [--threads N]

Trains each generator of the config as a run would (checkpoints chosen by KID against val, in features of a classifier
that saw train only), draws IMAGES of each class, and judges them by an oracle: a classifier trained on the full
official train set, used here and nowhere else. Leaves FOLDER/NAME.json (share confirmed by the oracle and SSIM of pairs
for each class, before and after curation's checks, seconds, kimg), NAME.png (ten images of each class, none picked) and
NAME-nearest.png (five images a class, each over the nearest image of train by pixels), and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.trained import Trained
from augpipe.core import refs, store
from augpipe.core.device import Runtime
from augpipe.core.files import write_json
from augpipe.core.home import home
from augpipe.core.images import ImageSet, grid
from augpipe.core.seeds import torch_stream
from augpipe.data.imbalance import Natural
from augpipe.generators import families
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, load
from augpipe.pipeline.graph import call_generator, call_reference
from augpipe.pipeline.records import Prepared, TrainedGenerator, TrainingSpec
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.stages.measure import measure_set
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.synthesize import synthesize
from augpipe.pipeline.stages.train_generator import SHOWN
from augpipe.report.quality import kept_rows
from augpipe.synthetic import draw as synthesis
from augpipe.synthetic.fidelity import pixels

IMAGES = 500  # of each class, judged
PAIRS = 200  # of each class, whose structural similarity is taken
ORACLE = ClassifierOptions(width=1.0, steps=4000, batch=128, evaluations=2)


@dataclass(frozen=True)
class Bench:
    """An experiment, its data, and the reference classifier of seed 0."""

    experiment: Experiment
    context: Context
    runs: Runs

    @property
    def prepared(self) -> Prepared:
        return self.runs.prepared[0]

    @property
    def reference(self) -> refs.Ref:
        return self.runs.references[0].reference

    def call(self, stage: Callable[..., Any], *inputs: Any, title: str, total: float | None = None) -> Any:
        """The stage itself, computed each time: the seconds it takes are what is measured."""
        return stage(self.context, *inputs)


def oracle(experiment: Experiment, context: Context, folder: Path) -> Trained:
    """A classifier of the source's whole train set; kept in `folder` for the next run."""
    whole = experiment.model_copy(update={"imbalance": Natural(profile="natural")})
    path = folder / f"oracle-{whole.name}.pt"
    here = context.runtime()
    if path.exists():
        return trained_classifier.from_state(store.load_state(path), here)
    prepared = prepare(context, whole)
    splits = store.load_splits(prepared.splits)
    batches = Mixture(splits.train, None, Mix(), here, seed=0)
    found = classification.train(batches, splits.val, ORACLE, here, seed=0)
    right = _right(found, splits.test, here)
    print(f"oracle of {whole.name}: {100 * right.mean():.2f}% right on the official test set")
    torch.save(trained_classifier.state_of(found, ORACLE), path)
    return found


def _right(judge: Trained, images: ImageSet, here: Runtime) -> np.ndarray[Any, Any]:
    found = trained_classifier.predict(judge, images, here).argmax(1)
    return np.asarray(found == images.labels)


def trained(bench: Bench, name: str) -> TrainedGenerator:
    """The generator, whole or joined from models of single classes."""
    spec = TrainingSpec(name=name, seed=0)
    return call_generator(bench.runs, bench.experiment, spec, bench.call).trained


def similarity(images: torch.Tensor, seed: int = 0) -> float:
    """Mean SSIM of random pairs of different images, uint8 (N,C,H,W); nan for fewer than two."""
    n = len(images)
    if n < 2:
        return float("nan")
    rng = torch.Generator().manual_seed(seed)
    one = torch.randint(0, n, (PAIRS,), generator=rng)
    other = (one + torch.randint(1, n, (PAIRS,), generator=rng)) % n
    return float(pixels.similarity(images[one].float(), images[other].float()).mean())


def after_checks(bench: Bench, judge: Trained, made: TrainedGenerator, have: list[int]) -> dict[int, dict[str, float]]:
    """What curation keeps: share kept, images made of IMAGES asked for, share of them confirmed, SSIM of pairs."""
    here, prepared, experiment = bench.context.runtime(), bench.prepared, bench.experiment
    found = synthesize(
        bench.context,
        prepared,
        bench.reference,
        made,
        dict.fromkeys(have, IMAGES),
        experiment.curation,
        experiment.fidelity.features,
    )
    images = store.load_images(found.images)
    right = _right(judge, images, here) if len(images) else np.empty(0, bool)
    shares = kept_rows(store.load_table(found.funnel)).set_index(["class", "metric"])["value"]
    told = {}
    for c in have:
        own = images.labels == c
        told[c] = {
            "kept": float(shares[prepared.classes[c], "kept"]),
            "made": int(own.sum()),
            "confirmed_curated": float(right[own].mean()) if own.any() else float("nan"),
            "ssim_curated": similarity(torch.from_numpy(np.array(images.images[own]))),
        }
    return told


def measure(bench: Bench, judge: Trained, made: TrainedGenerator, out: Path, plain: bool) -> dict[str, Any]:
    """Judge fresh images of a trained generator; leaves its pictures."""
    here, prepared, experiment = bench.context.runtime(), bench.prepared, bench.experiment
    generator, _ = families.unpack(store.load_state(made.checkpoint), here, bench.context.store.images)
    train = store.load_images(prepared.splits.train)
    have = [c for c, n in train.counts().items() if n > 0]
    asked = torch.tensor(have).repeat_interleave(IMAGES)
    begun = time.perf_counter()
    images = synthesis.draw(generator, asked, torch_stream(0, "bench")).images
    drawing = time.perf_counter() - begun
    right = _right(judge, synthesis.synthetic_set(images, asked, train), here)
    curated = {c: dict[str, float]() for c in have}
    overall = pd.DataFrame({"metric": [], "value": []})
    if not plain:
        curated = after_checks(bench, judge, made, have)
        loose = synthesis.synthetic_set(images, asked, train)
        measured = measure_set(
            bench.context, prepared, bench.reference, loose, experiment.fidelity, experiment.classifier, 0
        )
        table = store.load_table(measured.table)
        overall = table[(table["class"] == "") & ~table.value.isna()]
    classes: dict[str, dict[str, float]] = {}
    nearest = []
    for c in have:
        own, real = images[asked == c], torch.from_numpy(train.images[train.labels == c])
        classes[prepared.classes[c]] = {
            "real": len(real),
            "confirmed": float(right[(asked == c).numpy()].mean()),
            **curated[c],
            "ssim": similarity(own),
            "ssim_real": similarity(real),
        }
        apart = torch.cdist(own[:5].flatten(1).float(), real.flatten(1).float())
        nearest += [own[:5], real[apart.argmin(1)]]
    shown = store.load_images(made.samples).images
    scale = max(1, 56 // shown.shape[2])
    grid(shown, SHOWN, scale=scale).save(out / f"{made.name}.png")
    grid(torch.cat(nearest).numpy(), 5, scale=scale).save(out / f"{made.name}-nearest.png")
    return {
        "name": made.name,
        "figures": {m: float(v) for m, v in zip(overall.metric, overall.value, strict=True)},
        "config": experiment.generators[made.name].model_dump(mode="json"),
        "classes": classes,
        "training_seconds": made.time.seconds,
        "best_kimg": made.best_kimg,
        "stopped": made.stopped,
        "images_per_second_drawn": len(asked) / drawing,
        "threads": bench.context.threads,
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a row a generator."""
    lines = [
        "| generator | mean | worst class | SSIM (real) | after checks: mean | worst class | kept "
        "| memorisation.p | near copies | best kimg | seconds |",
        "| --- " * 11 + "|",
    ]
    for one in found:
        classes = one["classes"]
        alike, real = (np.mean([c[key] for c in classes.values()]) for key in ("ssim", "ssim_real"))
        made = {n: c["confirmed_curated"] for n, c in classes.items() if c.get("made")}
        kept = [c["kept"] for c in classes.values() if "kept" in c]
        figures = one.get("figures", {})
        after = ("–", "–") if not made else (f"{np.mean(list(made.values())):.3f}", worst(made))
        cells = [
            one["name"],
            f"{np.mean([c['confirmed'] for c in classes.values()]):.3f}",
            worst({n: c["confirmed"] for n, c in classes.items()}),
            f"{alike:.2f} ({real:.2f})",
            *after,
            f"{np.mean(kept):.2f}" if kept else "–",
            *(f"{figures[m]:.3f}" if m in figures else "–" for m in ("memorisation.p", "memorisation.near_copies")),
            f"{one['best_kimg']:g}",
            f"{one['training_seconds']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def worst(share: dict[str, float]) -> str:
    """The least, and of which class."""
    name = min(share, key=lambda n: share[n])
    return f"{share[name]:.3f} ({name})"


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    parser.add_argument("--oracle", type=Path, help="folder of oracles (default: --out)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plain", action="store_true", help="no checks and no further figures")
    parser.add_argument("--table", action="store_true", help="only print the table of --out")
    given = parser.parse_args()
    experiment: Experiment = load(given.config, given.overrides)
    names = given.only or list(experiment.generators)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        runner = experiment.runner
        context = Context(
            root=home() / "store", device=runner.device, precision=runner.precision, threads=given.threads
        )
        judge = oracle(experiment, context, given.oracle or given.out)
        bench = Bench(experiment, context, Runs({0: prepare(context, experiment)}))
        call_reference(bench.runs, experiment, 0, bench.call)
        for name in names:
            made = trained(bench, name)
            found = measure(bench, judge, made, given.out, given.plain)
            write_json(given.out / f"{name}.json", found)
            print(table([found]), flush=True)
    done = [given.out / f"{name}.json" for name in names]
    print(table([json.loads(path.read_text()) for path in done if path.exists()]))


if __name__ == "__main__":
    main()
