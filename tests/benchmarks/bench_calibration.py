"""Is a verdict right as often as it says? A/A comparisons and planted gains, from predictions of real runs.

python tests/benchmarks/bench_calibration.py CONFIG --out FOLDER [--arm NAME] [--runs N] [--draws N] [--set KEY=VALUE
...]

Trains the arm (one without a generator) of the config on RUNS seeds, as a run would, and keeps which test images each
got right. Then, DRAWS times: two groups of as many of these runs, none in both, stand for two arms, on test images
drawn anew with replacement within their class. Nothing is between such arms, so a "better" or "worse" is false. For a
gain of g points, images that the first arm got right become wrong with the probability that lowers its macro recall by
g; between seeds the gain varies by a third of itself. Each pair is judged twice: as the first look does, and as the
confirm stage does, with one classifier on each of as many replicates and a look after 5 of 10. Leaves
FOLDER/calibration.json and prints two tables.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import gain, macro_recall
from augpipe.comparison.decision import confirm_pair
from augpipe.comparison.explore import verdict
from augpipe.comparison.options import Confirm
from augpipe.comparison.units import Units
from augpipe.core import store
from augpipe.core.files import beside, write_json
from augpipe.core.home import home
from augpipe.pipeline.confirm import looks
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, load
from augpipe.pipeline.stages.mix import mix
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.score import score
from augpipe.pipeline.stages.train_classifier import train_classifier

SEEDS = (3, 5, 10)
GAINS = (0.0, 1.0, 2.0, 5.0)  # points
VARIES = 1 / 3  # standard deviation of a gain between seeds, in units of the gain


def hits(
    experiment: Experiment, context: Context, arm: str, runs: int, path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each run got each test image right, (R,N), and their labels (N,).

    path: written after each run; those of an earlier call that is in it are not trained again.
    """
    right: list[NDArray[np.bool_]] = []
    if path.exists():
        with np.load(path) as earlier:
            right, labels = list(earlier["right"][:runs]), earlier["labels"]
        if len(right) == runs:
            return np.stack(right), labels
    prepared = prepare(context, experiment)
    mixed = next(a for a in experiment.arms if a.name == arm)
    labels = np.array(store.load_images(prepared.splits.test).labels)
    recipe = mix(context, prepared, mixed.mix, None)
    for seed in range(len(right), runs):
        trained = train_classifier(context, prepared, recipe, experiment.classifier, arm, seed)
        scored = score(context, prepared, trained, recipe)
        found = store.load_state(scored.probabilities)["test"]
        right.append(found.numpy().argmax(1) == labels)
        with beside(path) as draft, draft.open("wb") as stream:
            np.savez_compressed(stream, right=np.stack(right), labels=labels)
        print(f"run {seed}: {100 * macro_recall(right[-1][None], labels)[0]:.2f}", flush=True)
    return np.stack(right), labels


def drawn_anew(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows with replacement within each class, as many as it has."""
    own = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return np.concatenate([rng.choice(rows, len(rows)) for rows in own])


def planted(
    right: NDArray[np.bool_], labels: NDArray[np.int64], points: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Hits with so many fewer that macro recall falls by `points` on average: there is room for that at any level."""
    if not points:
        return right
    wanted = points / 100 * (1 + VARIES * rng.normal(size=len(right)))
    chance = np.clip(wanted / macro_recall(right, labels), 0, 1)
    fewer: NDArray[np.bool_] = right & (rng.random(right.shape) >= chance[:, None])
    return fewer


def told(right: NDArray[np.bool_], labels: NDArray[np.int64], seeds: int, points: float, draws: int) -> dict[str, Any]:
    """Shares of verdicts and of intervals that hold the planted gain."""
    counts = dict.fromkeys(("better", "worse", "covered"), 0)
    for draw in range(draws):
        rng = np.random.default_rng([draw, seeds, round(10 * points)])
        runs, images = rng.permutation(len(right))[: 2 * seeds], drawn_anew(labels, rng)
        one, other = (right[part][:, images] for part in (runs[:seeds], runs[seeds:]))
        # The reference loses what the arm is to gain: near 100% there would be no room above.
        arms = {"a": planted(one, labels[images], points, rng), "b": other}
        units = Units(labels[images])
        found = gain("b", "a", arms, units)
        # As `gains` does for one arm, without the search for the seeds that would be needed.
        said = verdict(found.interval, found.p, seeds, units)
        counts["better"] += said == "better"
        counts["worse"] += said == "worse"
        counts["covered"] += found.interval.low <= points / 100 <= found.interval.high
    return {"seeds": seeds, "gain": points, "draws": draws, **{k: n / draws for k, n in counts.items()}}


def confirmed(
    right: NDArray[np.bool_], labels: NDArray[np.int64], seeds: int, points: float, draws: int
) -> dict[str, Any]:
    """Fractions of the confirm stage's decisions, of intervals that contain the planted gain, and replicates on
    average.
    """
    counts = dict.fromkeys(("better", "worse", "equivalent", "undecided", "covered"), 0)
    planned, trained = looks(Confirm(generators=seeds)), 0
    for draw in range(draws):
        rng = np.random.default_rng([draw, seeds, round(10 * points)])
        runs, images = rng.permutation(len(right))[: 2 * seeds], drawn_anew(labels, rng)
        one, other = (right[part][:, images] for part in (runs[:seeds], runs[seeds:]))
        truth = labels[images]
        rival, contender = (np.where(of, truth, -1)[:, None] for of in (planted(one, truth, points, rng), other))
        for n in planned:
            outcome = confirm_pair(contender[:n], rival[:n], truth, looks=planned)
            if outcome.decision != "undecided":
                break
        trained += n
        counts[outcome.decision] += 1
        counts["covered"] += outcome.low <= points <= outcome.high
    rates = {name: n / draws for name, n in counts.items()}
    return {"replicates": seeds, "gain": points, "draws": draws, **rates, "trained": trained / draws}


def table(found: dict[str, Any]) -> str:
    """Markdown: a row a number of seeds, a column a planted gain."""
    lines = [
        "| seeds | no gain: better / worse | interval holds 0 | "
        + " | ".join(f"+{g:g}: better" for g in GAINS[1:])
        + " |",
        "| --- " * (len(GAINS) + 2) + "|",
    ]
    for seeds in sorted({row["seeds"] for row in found["rows"]}):
        own = {row["gain"]: row for row in found["rows"] if row["seeds"] == seeds}
        none = own[0.0]
        cells = [
            f"{100 * none['better']:.1f}% / {100 * none['worse']:.1f}%",
            f"{100 * none['covered']:.1f}%",
            *(f"{100 * own[g]['better']:.0f}%" if g in own else "–" for g in GAINS[1:]),
        ]
        lines.append(f"| {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def confirm_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each number of replicates and planted gain."""
    lines = ["| replicates | gain | better | worse | equivalent | covered | trained |", "| --- " * 7 + "|"]
    lines += [
        f"| {r['replicates']} | {r['gain']:g} | {100 * r['better']:.1f}% | {100 * r['worse']:.1f}% | "
        f"{100 * r['equivalent']:.1f}% | {100 * r['covered']:.1f}% | {r['trained']:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", default="classic")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    given = parser.parse_args()
    if given.runs < 2 * max(given.seeds):
        parser.error(f"two arms of {max(given.seeds)} seeds need {2 * max(given.seeds)} runs")
    experiment = load(given.config, given.overrides)
    runner = experiment.runner
    context = Context(root=home() / "store", device=runner.device, precision=runner.precision, threads=given.threads)
    begun = time.perf_counter()
    given.out.mkdir(parents=True, exist_ok=True)
    right, labels = hits(experiment, context, given.arm, given.runs, given.out / f"hits-{given.arm}.npz")
    level = macro_recall(right, labels)
    rows = [told(right, labels, s, g, given.draws) for s in given.seeds for g in GAINS]
    stage = [confirmed(right, labels, s, g, given.draws) for s in given.seeds for g in GAINS]
    found = {
        "config": given.config.name,
        "arm": given.arm,
        "runs": given.runs,
        "test_images": len(labels),
        "macro_recall": float(level.mean()),
        "spread": float(level.std(ddof=1)),
        "rows": rows,
        "confirm": stage,
        "seconds": time.perf_counter() - begun,
    }
    write_json(given.out / "calibration.json", found)
    print(json.dumps({k: v for k, v in found.items() if k not in ("rows", "confirm")}))
    print(table(found))
    print(confirm_table(stage))


if __name__ == "__main__":
    main()
