"""Results of a comparison that never ran, for what is written of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from augpipe.classifiers import scores
from augpipe.classifiers.options import Mix
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref, SplitRefs
from augpipe.core.store import Store
from augpipe.data import quarantine
from augpipe.data.sources._listing import Bad
from augpipe.pipeline import experiment as config
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import (
    IntakeRecord,
    Measured,
    Prepared,
    Recipe,
    Scored,
    Timed,
    TrainedClassifier,
    TrainedGenerator,
)
from augpipe.pipeline.runs import ArmRun, GeneratorRun, Runs
from augpipe.report.collect import collect
from augpipe.report.results import Results
from augpipe.synthetic import fidelity

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Runs]:
    from shapes import shapes

    store = Store(tmp_path_factory.mktemp("store"))
    sets = {
        "train": renamed(shapes((30, 10, 5))),
        "val": renamed(shapes((8, 8, 8), seed=1)),
        "test": renamed(shapes((20, 20, 20), seed=2)),
    }
    experiment = config.build(
        {
            "name": "made by hand",
            "source": {"kind": "bundled"},
            "generators": {"gan": {"kind": "acgan"}},
            "gate": ["memorisation.p > 0.01", "each agreement > 0.5"],
            "arms": [{"name": "real"}, {"name": "classic"}, {"name": "gan", "generator": "gan"}],
            "baseline": "real",
        }
    )
    runs = Runs(dict.fromkeys(experiment.seeds, _prepared(store, sets)))
    rng = np.random.default_rng(0)
    right = {"real": 0.6, "classic": 0.7, "gan": 0.95}
    nothing = store.put_table("empty", pd.DataFrame({"x": [1]}))
    state = store.put_state("states", {"classes": list(CLASSES)})
    for arm in experiment.arms:
        for seed in experiment.seeds:
            runs.arms[arm.name, seed] = ArmRun(
                arm,
                seed,
                runs.prepared[seed],
                recipe=recipe_of(arm.name, seed),
                classifier=TrainedClassifier(
                    arm=arm.name, seed=seed, state=state, history=nothing, best_step=40 + seed, time=SECOND
                ),
                scored=_scored(store, sets, arm.name, seed, right[arm.name], rng),
            )
    for seed in experiment.seeds:
        trained = TrainedGenerator(
            name="gan",
            kind="acgan",
            seed=seed,
            checkpoint=state,
            history=nothing,
            previews=(),
            samples=store.put_images(sets["train"]),
            learned=nothing,
            best_kimg=1.5,
            best_metric=0.1,
            stopped="the budget is spent",
            time=SECOND,
        )
        measured = Measured(
            table=store.put_table("fidelity", _fidelity(seed)),
            gallery=store.put_images(sets["train"].take(np.arange(9))),
            time=SECOND,
        )
        runs.generators["gan", seed] = GeneratorRun("gan", seed, runs.prepared[seed], trained, measured=measured)
    return experiment, runs


SECOND = Timed(began=0, seconds=1)


def _prepared(store: Store, sets: dict[str, ImageSet]) -> Prepared:
    bad = (Bad(f"{EVIL}/x.png", "not a picture of a supported format", EVIL),)
    removed = {"b.png": (CLASSES[1], "removed from train: equal to c.png in test")}
    splits = SplitRefs(**{name: store.put_images(images) for name, images in sets.items()})
    return Prepared(
        data=splits.train,
        splits=splits,
        classes=CLASSES,
        size=16,
        channels=1,
        counts={name: images.counts() for name, images in sets.items()},
        fingerprint="f" * 16,
        intake=IntakeRecord(
            fingerprint="0" * 16,
            images=129,
            quarantined=1,
            removed=1,
            ignored={".txt": 2},
            split="grouped",
            groups=40,
            notes=(f"a note on {EVIL}",),
        ),
        quarantine=store.put_table("quarantine", quarantine.quarantine(bad, removed)),
        time=SECOND,
    )


def _scored(
    store: Store, sets: dict[str, ImageSet], arm: str, seed: int, rate: float, rng: np.random.Generator
) -> Scored:
    """Of a classifier that knows that part of the images, and takes the others for the next class."""
    found = {}
    for split in ("val", "test"):
        y = sets[split].labels
        hit = rng.random(len(y)) < rate
        found[split] = np.eye(3, dtype=np.float32)[np.where(hit, y, (y + 1) % 3)]
    parts = [scores.score(found[s], sets[s].labels, CLASSES, sets["train"].counts()).assign(split=s) for s in found]
    table = pd.concat(parts)[["split", "metric", "class", "value"]]
    return Scored(
        arm=arm,
        seed=seed,
        table=store.put_table("scores", table),
        probabilities=store.put_state("p", {k: torch.from_numpy(v) for k, v in found.items()}),
    )


def recipe_of(arm: str, seed: int) -> Recipe:
    own = arm == "gan"
    made = (0, 20, 25) if own else (0, 0, 0)
    # Equal only for equal images: what arms are told apart by where curation is summed up.
    ref = Ref(path=Path("synthetic"), sha256=f"{seed}")
    return Recipe(
        real=Ref(path=Path("real"), sha256="0"),
        synthetic=ref if own else None,
        soft_labels=None,
        mix=Mix(),
        chosen=None,
        real_count=(30, 10, 5),
        synthetic_count=made,
        made_by={"gan": sum(made)} if own else {},
        class_probability=(1 / 3, 1 / 3, 1 / 3),
        class_share=(0, 0.3, 0.3),
        synthetic_share=0.2 if own else 0.0,
        synthetic_ratio=sum(made) / 45,
        drawn=f"{seed}" if own else None,
        short={EVIL: 4} if own else {},
        funnel=tuple(_funnel(seed)) if own else (),
    )


def with_recipes(runs: Runs, change: Callable[[tuple[str, int], Recipe], Recipe]) -> Runs:
    """The same runs with other recipes."""
    arms = {key: replace(run, recipe=change(key, run.recipe)) for key, run in runs.arms.items()}
    return replace(runs, arms=arms)


@pytest.fixture(scope="module")
def results(stored: tuple[Experiment, Runs]) -> Results:
    return collect(*stored, 12.0)


CLASSES = (EVIL, 'a,"b"\nc', "größe $x^2$")


def renamed(images: ImageSet) -> ImageSet:
    return ImageSet(images.images, images.labels, CLASSES, images.table)


def _fidelity(seed: int) -> pd.DataFrame:
    """KID of .4, .5 and .6 by seed; p of .2, .02 and .002; a class and a seed without a figure."""
    return pd.DataFrame(
        [
            (c, m, v, 8, 9, "" if np.isfinite(v) else f"too few images of {c or 'all'}")
            for c in ("", *CLASSES)
            for m, v in (
                ("kid", float("nan") if c == EVIL else 0.4 + 0.1 * seed),
                ("fid", float("nan") if seed == 1 else 3.0),
                ("memorisation.p", 2 * 10.0 ** -(seed + 1)),
                ("agreement", 0.9),
            )
        ],
        columns=list(fidelity.COLUMNS),
    )


def _funnel(seed: int) -> list[dict[str, object]]:
    """Of 10 candidates of each class and seed 8 are not blank; of those, as many look real as the seed says."""
    return [
        {"generator": "gan", "class": c, "check": check, "seen": seen, "passed": passed}
        for c in CLASSES
        for check, seen, passed in (("blank", 10, 8), ("realism", 8, 2 * seed))
    ]
