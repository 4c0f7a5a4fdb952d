"""How often is the two-stage verdict wrong, and how often does it find a gain? Simulated, beside testing all arms at
once.

python tests/benchmarks/bench_two_stage.py --out FOLDER [--draws N] [--only NAME ...]

An image is classified correctly if a latent normal value lies below its training's threshold. The value has parts that
all arms share, that are the arm's (for groups, half of it the whole group's), and that are the training's own; the
threshold varies between generators and between classifiers. Explore: SEEDS seeds of every arm, of which validation
chooses the best arm with a generator and the best without. Confirm: G generators, R classifiers on each, new
thresholds, test images that took no part in the choice. "All arms": as many trainings (generators and classifiers count
alike, explore and the baseline in the confirm stage included) spent on seeds of every arm, p over the same rival
corrected over all arms by Holm's method, the arm chosen on val of the same seeds; seeds are rounded up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from augpipe.comparison.bootstrap import holm, interval
from augpipe.comparison.decision import confirm_pair, decide
from augpipe.comparison.explore import verdict
from augpipe.comparison.options import METRICS
from augpipe.comparison.paired import difference
from augpipe.comparison.simultaneous import simultaneous
from augpipe.comparison.units import Units

SEEDS = 3  # of the explore stage
CLASSES = 5
COMMON, OF_ARM, OF_TRAINING = 0.5, 0.1, 0.4  # variance of the latent value
GROUP = 10  # images
LOOKS = (5, 10, 20)
PLAIN = ("generators", "members", "ratio", "width together", "width apart")  # not rates


@dataclass(frozen=True)
class World:
    """A setting. Deviations in points of macro recall; gain: of one arm with a generator, in points."""

    name: str
    arms: int = 6
    generators: int = 5
    classifiers: int = 2
    images: int = 1000
    of_generator: float = 0.4
    of_classifier: float = 0.5
    level: float = 0.9
    grouped: bool = False
    takes: float = 1.0  # trainings of a classifier that take as long as one of a generator
    gain: float = 0.0

    @property
    def generative(self) -> int:
        """Arms with a generator: the last ones, of which the very last has the gain."""
        return self.arms // 2

    @property
    def trainings(self) -> float:
        """Of both stages: generators, by what they take, and classifiers."""
        arms = 2 if self.arms - self.generative == 1 else 3  # the baseline too, if it is not the rival
        return SEEDS * self.of_seed + self.generators * (self.takes + arms * self.classifiers)

    @property
    def of_seed(self) -> float:
        """Trainings of one seed of every arm."""
        return self.arms + self.takes * self.generative

    @property
    def seeds(self) -> int:
        """Seeds of every arm for as many trainings, rounded up."""
        return math.ceil(self.trainings / self.of_seed)


WORLDS = (
    World("center"),
    *(World(f"{n} arms", arms=n) for n in (2, 20, 50)),
    *(
        World(f"G {g}, R {r}", generators=g, classifiers=r)
        for g, r in ((3, 1), (3, 2), (3, 8), (5, 1), (5, 4), (10, 1), (10, 2), (10, 8))
    ),
    *(World(f"{n} images", images=n) for n in (200, 10_000)),
    World("20 groups a class", grouped=True),
    World("8 groups a class", images=400, grouped=True),
    World("small variances", of_generator=0.1, of_classifier=0.2),
    World("large variances", of_generator=1.0, of_classifier=1.0),
    World("generator varies", of_generator=1.5, of_classifier=0.2),
    World("classifier varies", of_generator=0.0, of_classifier=1.5),
    World("as digits", images=630, level=0.95, of_generator=0.5, of_classifier=0.8),
    World("as MNIST, small classes", images=10_000, level=0.95, of_generator=0.4, of_classifier=0.6),
    World("as Fashion-MNIST", images=10_000, level=0.87, of_generator=0.1, of_classifier=0.15),
    World("slow generator", takes=5.0, classifiers=4),
    World("20 arms, 10,000 images, G 10", arms=20, images=10_000, generators=10),
)


# Two arms leave nothing to choose: the explore stage's seeds are the first replicates.
PAIRS = (
    World("two arms", arms=2),
    World("two arms, R 1", arms=2, classifiers=1),
    World("two arms, G 10", arms=2, generators=10),
    World("two arms, 200 images", arms=2, images=200),
    World("two arms, 8 groups a class", arms=2, images=400, grouped=True),
    World("two arms, generator varies", arms=2, of_generator=1.5, of_classifier=0.2),
    World("two arms, classifier varies", arms=2, of_generator=0.0, of_classifier=1.5),
)


class Sample:
    """Images of one side: latent values of each arm, and predictions of trainings on them."""

    def __init__(self, world: World, images: int, arms: Sequence[int], rng: np.random.Generator) -> None:
        self.rng, self.world = rng, world
        self.labels = np.repeat(np.arange(CLASSES), images // CLASSES).astype(np.int64)
        n = len(self.labels)
        self.groups = np.arange(n) // GROUP if world.grouped else None
        common = rng.normal(size=n) * COMMON**0.5
        share = 0.5 if world.grouped else 0.0
        self.latent = {}
        for arm in arms:
            of_group = rng.normal(size=n // GROUP).repeat(GROUP) if world.grouped else 0.0
            of_arm = share**0.5 * of_group + (1 - share) ** 0.5 * rng.normal(size=n)
            self.latent[arm] = (common + OF_ARM**0.5 * of_arm).astype(np.float32)

    def predict(self, arm: int, thresholds: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Classes that trainings with these thresholds (G,R) predict: (G,R,N)."""
        noise = self.rng.standard_normal((*thresholds.shape, len(self.labels)), dtype=np.float32)
        noise *= np.float32(OF_TRAINING**0.5)
        noise += self.latent[arm]
        right = noise < thresholds[..., None].astype(np.float32)
        return np.where(right, self.labels, (self.labels + 1) % CLASSES).astype(np.uint8)


def thresholds(world: World, arm: int, g: int, r: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Of G generators and R classifiers on each, with the arm's expected macro recall: (G,R)."""
    point = 0.01 / stats.norm.pdf(stats.norm.ppf(world.level))
    generative = arm >= world.arms - world.generative
    of_generator = world.of_generator * point if generative else 0.0
    of_classifier = world.of_classifier * point
    level = world.level + (world.gain / 100 if arm == world.arms - 1 else 0.0)
    mean = stats.norm.ppf(level) * math.sqrt(1 + of_generator**2 + of_classifier**2)
    return mean + of_generator * rng.normal(size=(g, 1)) + of_classifier * rng.normal(size=(g, r))


def finalists(world: World, val: Sequence[float]) -> tuple[int, int]:
    """Best arm with a generator, best without."""
    order, plain = np.argsort(val)[::-1], world.arms - world.generative
    return int(next(a for a in order if a >= plain)), int(next(a for a in order if a < plain))


def explore(world: World, seeds: int, rng: np.random.Generator) -> tuple[list[float], list[NDArray[np.float64]]]:
    """Mean macro recall on val of every arm, and the thresholds of its seeds.

    Given the latent values, the number of right images is a sum of independent ones: its normal limit is drawn.
    """
    arms = range(world.arms)
    images = max(1, world.images // 2 // CLASSES // GROUP) * CLASSES * GROUP
    val = Sample(world, images, arms, rng)
    trained = [thresholds(world, arm, seeds, 1, rng) for arm in arms]
    means = []
    for arm in arms:
        right = special.ndtr((trained[arm] - val.latent[arm]) / OF_TRAINING**0.5)
        noise = math.sqrt(float((right * (1 - right)).sum())) / right.size
        means.append(float(right.mean()) + noise * rng.normal())
    return means, trained


def two_stages(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Explore, choose, confirm."""
    contender, rival = finalists(world, explore(world, SEEDS, rng)[0])
    test = Sample(world, world.images, (contender, rival), rng)
    both = [
        test.predict(arm, thresholds(world, arm, world.generators, world.classifiers, rng))
        for arm in (contender, rival)
    ]
    answer = confirm_pair(*both, test.labels, test.groups)
    truth = world.gain if contender == world.arms - 1 else 0.0
    return {
        "better": answer.decision == "better",
        "worse": answer.decision == "worse",
        "equivalent": answer.decision == "equivalent",
        "covered": answer.low <= truth <= answer.high,
        "chosen": contender == world.arms - 1,
        "width": answer.high - answer.low,
    }


def all_arms(world: World, rng: np.random.Generator) -> dict[str, float]:
    """All arms on as many seeds as there are trainings, corrected over all."""
    val, trained = explore(world, world.seeds, rng)
    contender, rival = finalists(world, val)
    test = Sample(world, world.images, range(world.arms), rng)
    units = Units(test.labels, test.groups)
    outputs = {arm: test.predict(arm, trained[arm]) for arm in range(world.arms)}
    others = [arm for arm in outputs if arm != rival]
    lead = difference(outputs[contender], outputs[rival], units)
    corrected = len(others) * lead.p  # at most; and at least p itself
    if lead.p < 0.05 <= corrected:
        p_values = [difference(outputs[arm], outputs[rival], units).p for arm in others]
        corrected = holm(p_values)[others.index(contender)]
    better = corrected < 0.05 and lead.mean > 0
    if better:  # the percentiles, which take their time, can only take it back
        right = [(outputs[arm][:, 0] == test.labels).astype(float) for arm in (contender, rival)]
        answer = verdict(interval(right[0] - right[1], units), corrected, world.seeds, units)
        better = answer == "better"
    return {"better": float(better)}


def rates(world: World, draws: int, procedure: Any) -> dict[str, float]:
    """Means over draws."""
    seed = zlib.crc32(world.name.encode())
    rows = [procedure(world, np.random.default_rng([seed, draw])) for draw in range(draws)]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def with_looks(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Stop at the first look that decides better or worse."""
    arms, test = (world.arms - 1, 0), None
    test = Sample(world, world.images, arms, rng)
    units = Units(test.labels, test.groups)
    most = LOOKS[-1]
    both = [test.predict(a, thresholds(world, a, most, world.classifiers, rng)) for a in arms]
    for count in LOOKS:
        answer = decide(difference(both[0][:count], both[1][:count], units), "macro_recall", looks=LOOKS)
        if answer.decision != "undecided":
            break
    return {
        "better": answer.decision == "better",
        "worse": answer.decision == "worse",
        "equivalent": answer.decision == "equivalent",
        "generators": count,
        "covered": answer.low <= world.gain <= answer.high,
    }


def pooled(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Two arms, every seed counts, looks from the first one after the explore stage on."""
    return _of_pair(world, world.generators, SEEDS, rng)


def fresh(world: World, rng: np.random.Generator) -> dict[str, float]:
    """The same two arms by fresh seeds alone, with as many trainings: those of the explore stage do not count."""
    each = world.takes + 2 * world.classifiers
    explored = SEEDS * (world.takes + 2)
    return _of_pair(world, max(3, int((world.generators * each - explored) / each)), 0, rng)


def _of_pair(world: World, generators: int, trained: int, rng: np.random.Generator) -> dict[str, float]:
    test = Sample(world, world.images, (1, 0), rng)
    units = Units(test.labels, test.groups)
    looks = [n for n in LOOKS if trained <= n < generators] + [generators]
    both = [test.predict(arm, thresholds(world, arm, generators, world.classifiers, rng)) for arm in (1, 0)]
    for count in looks:
        answer = decide(difference(both[0][:count], both[1][:count], units), "macro_recall", looks=looks)
        if answer.decision != "undecided":
            break
    return {
        "better": answer.decision == "better",
        "worse": answer.decision == "worse",
        "covered": answer.low <= world.gain <= answer.high,
        "generators": count,
    }


def of_metric(metric: str) -> Any:
    """A procedure: two equal arms by another metric. Two classes have a fifth of the images of the others."""

    def compare(world: World, rng: np.random.Generator) -> dict[str, float]:
        arms = (world.arms - 1, 0)
        test = Sample(world, world.images, arms, rng)
        few = (test.labels < 3) | (np.arange(len(test.labels)) % (CLASSES * GROUP) < GROUP)
        both = []
        for arm in arms:
            output = test.predict(arm, thresholds(world, arm, world.generators, world.classifiers, rng))
            if metric == "macro_auc":
                scores = 0.3 * rng.random((*output.shape, CLASSES), dtype=np.float32)
                scores += 0.2 * (output[..., None] == np.arange(CLASSES))
                output = scores
            both.append(output[:, :, few])
        groups = None if test.groups is None else test.groups[few]
        classes = (3, 4) if metric == "minority_recall" else ()
        answer = confirm_pair(*both, test.labels[few], groups, metric=metric, classes=classes)  # type: ignore[arg-type]
        return {"better": answer.decision == "better", "covered": answer.low <= 0 <= answer.high}

    return compare


def families(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Equal arms, all against the first, macro recall and every class: does any interval exclude 0?"""
    arms = range(world.arms)
    test = Sample(world, world.images, arms, rng)
    units = Units(test.labels, test.groups)
    outputs = [test.predict(a, thresholds(world, a, world.generators, world.classifiers, rng)) for a in arms]
    members = [
        difference(outputs[a], outputs[0], units, classes=() if c is None else (c,), name=f"{a} {c}")
        for a in arms[1:]
        for c in (None, *range(CLASSES))
    ]
    found = simultaneous(members, units)
    return {
        "members": len(members),
        "covered together": float(all(m.low <= 0 <= m.high for m in found)),
        "covered alone": float(all(m.interval(0.05)[0] <= 0 <= m.interval(0.05)[1] for m in members)),
        "covered by Holm": float(min(holm([m.p for m in members])) > 0.05),
    }


def components(g: int, r: int, ratio: float, draws: int = 40_000) -> dict[str, float]:
    """Coverage and mean half width, in standard errors, of two error models of G x R replicates without test images.

    together: variance of the G means, G - 1 degrees of freedom, as in `paired`. apart: components of generator and
    classifier, each with degrees of freedom of its own. ratio: variance of the generator over that of the classifier.
    """
    rng = np.random.default_rng([g, r, round(100 * ratio)])
    expected, nu = r * ratio + 1, g * (r - 1)
    between = expected * rng.chisquare(g - 1, draws) / (g - 1)
    within = rng.chisquare(nu, draws) / nu
    mean = rng.normal(size=draws) * expected**0.5
    together = stats.t.isf(0.025, g - 1) * between**0.5
    share = np.maximum(0, 1 - within / between)
    df = 1 / (share**2 / (g - 1) + (1 - share) ** 2 / nu)
    apart = stats.t.isf(0.025, df) * np.maximum(between, within) ** 0.5
    return {
        "ratio": ratio,
        "together": float((np.abs(mean) < together).mean()),
        "apart": float((np.abs(mean) < apart).mean()),
        "width together": float(together.mean() / expected**0.5),
        "width apart": float(apart.mean() / expected**0.5),
    }


def percent(value: float) -> str:
    """A rate as in a table."""
    return f"{100 * value:.1f}%" if value < 0.1 or value > 0.9 else f"{100 * value:.0f}%"


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: both stages, looks, metrics, families."""
    lines = [
        "| setting | arms | G x R | images | trainings (seeds of all arms) | no gain: better / worse | covered | "
        "chosen at +1 / +2 | +1: two stages / all arms | +2: two stages / all arms |",
        "| --- " * 10 + "|",
    ]
    both = [row for row in rows if row["kind"] == "two stages"]
    for none in (row for row in both if not row["gain"]):
        one, two = (next((r for r in both if r["name"] == none["name"] and r["gain"] == g), None) for g in (1.0, 2.0))
        if one is None or two is None:
            continue
        lines.append(
            f"| {none['name']} | {none['arms']} | {none['generators']} x {none['classifiers']} | {none['images']} | "
            f"{one['trainings']:g} ({one['seeds']}) | {percent(none['better'])} / {percent(none['worse'])} | "
            f"{percent(none['covered'])} | {percent(one['chosen'])} / {percent(two['chosen'])} | "
            + " | ".join(f"{percent(r['better'])} / {percent(r['all arms'])}" for r in (one, two))
            + " |"
        )
    for kind, keys in (
        ("components", ("ratio", "together", "apart", "width together", "width apart")),
        ("looks", ("better", "worse", "equivalent", "covered", "generators")),
        ("two arms", ("better", "worse", "covered", "generators", "fresh seeds alone: better")),
        ("metric", ("better", "covered")),
        ("family", ("members", "covered together", "covered alone", "covered by Holm")),
    ):
        lines += ["", f"| {kind} | gain | " + " | ".join(keys) + " |", "| --- " * (len(keys) + 2) + "|"]
        for row in (row for row in rows if row["kind"] == kind):
            cells = [f"{row[k]:.3g}" if k in PLAIN else percent(row[k]) for k in keys]
            lines.append(f"| {row['name']} | {row['gain']:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []

    def add(kind: str, world: World, result: dict[str, float], draws: int) -> None:
        rows.append({"kind": kind, **asdict(world), "draws": draws, **result})
        print(f"{time.perf_counter() - start:6.0f} s  {kind}: {world.name} +{world.gain:g} {result}", flush=True)
        (options.out / "two-stage.json").write_text(json.dumps(rows, indent=1))

    if not options.only:
        for g, r, ratio in itertools.product((3, 5, 10), (2, 8), (0.0, 0.1, 0.5, 1.0, 3.0)):
            world = World(f"G {g}, R {r}", generators=g, classifiers=r)
            add("components", world, components(g, r, ratio), 40_000)
        for gain in (0.0, 0.5, 1.0, 2.0):
            world = World("looks", gain=gain)
            add("looks", world, rates(world, options.draws, with_looks), options.draws)
        for metric in METRICS:
            for world in (World(metric, images=1000), World(f"{metric}, groups", images=2000, grouped=True)):
                add("metric", world, rates(world, options.draws, of_metric(metric)), options.draws)
        for world in (World("family"), World("family of 20", arms=20), World("family, G 10", generators=10)):
            add("family", world, rates(world, options.draws // 2, families), options.draws // 2)
    for world in (replace(pair, gain=gain) for pair in PAIRS for gain in (0.0, 1.0, 2.0)):
        if options.only and "two arms" not in options.only:
            continue
        draws = options.draws // 2 if world.gain else 2 * options.draws
        result = rates(world, draws, pooled)
        result["fresh seeds alone: better"] = rates(world, draws, fresh)["better"]
        add("two arms", world, result, draws)
    for world in WORLDS:
        if options.only and world.name not in options.only:
            continue
        large = world.images * world.generators * world.classifiers + world.images * world.arms
        draws = max(100, min(options.draws, int(options.draws * 60_000 / large)))
        add("two stages", world, rates(world, 2 * draws, two_stages), 2 * draws)
        for gain in (1.0, 2.0):
            better = replace(world, gain=gain)
            result = rates(better, draws // 2, two_stages)
            before = rates(better, draws // 2, all_arms)
            result |= {"trainings": world.trainings, "seeds": world.seeds, "all arms": before["better"]}
            add("two stages", better, result, draws // 2)
    print(tables(rows))


if __name__ == "__main__":
    main()
