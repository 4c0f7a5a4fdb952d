"""Results of a comparison that never ran, for what is written of one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from augpipe.classifiers import scores
from augpipe.core.images import ImageSet
from augpipe.core.store import SplitRefs, Store
from augpipe.data import quarantine
from augpipe.data.sources._listing import Bad
from augpipe.pipeline import experiment as config
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import IntakeRecord, Measured, Timed
from augpipe.report.results import Results, Stored, collect
from augpipe.synthetic import fidelity

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Stored]:
    from conftest import shapes

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
    rng = np.random.default_rng(0)
    right = {"real": 0.6, "classic": 0.7, "gan": 0.95}
    tables, probabilities, recipes = {}, {}, {}
    for arm, rate in right.items():
        for seed in experiment.seeds:
            found = {}
            for split in ("val", "test"):
                y = sets[split].labels
                hit = rng.random(len(y)) < rate
                found[split] = np.eye(3, dtype=np.float32)[np.where(hit, y, (y + 1) % 3)]
            parts = [
                scores.score(found[s], sets[s].labels, CLASSES, sets["train"].counts()).assign(
                    split=s
                )
                for s in found
            ]
            tables[arm, seed] = store.put_table(
                "scores", pd.concat(parts)[["split", "metric", "class", "value"]]
            )
            probabilities[arm, seed] = store.put_state(
                "p", {k: torch.from_numpy(v) for k, v in found.items()}
            )
            made = [0, 20, 25] if arm == "gan" else [0, 0, 0]
            recipes[arm, seed] = store.put_json(
                "mix",
                {
                    "real_count": [30, 10, 5], "synthetic_count": made, "class_share": [0, 0.3, 0.3],
                    "synthetic_share": 0.2 if arm == "gan" else 0.0, "synthetic_ratio": sum(made) / 45,
                    "made_by": {"gan": sum(made)} if arm == "gan" else {},
                    "short": {EVIL: 4} if arm == "gan" else {},
                    "funnel": _funnel(seed) if arm == "gan" else [],
                    "synthetic": {"sha256": f"{seed}"} if arm == "gan" else None,
                    "drawn": f"{seed}" if arm == "gan" else None,
                },
            )  # fmt: skip
    keys = [("gan", seed) for seed in experiment.seeds]
    splits = SplitRefs(**{k: store.put_images(v) for k, v in sets.items()})
    return experiment, Stored(
        splits=splits,
        by_seed=dict.fromkeys(experiment.seeds, splits),
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
        quarantine=store.put_table(
            "quarantine",
            quarantine.quarantine(
                (Bad(f"{EVIL}/x.png", "no picture of a known format", EVIL),),
                {"b.png": (CLASSES[1], "taken from train: equal to c.png in test")},
            ),
        ),
        recipes=recipes,
        tables=tables,
        probabilities=probabilities,
        samples={k: store.put_images(sets["train"]) for k in keys},
        best_kimg=dict.fromkeys(keys, 1.5),
        stopped=dict.fromkeys(keys, "the budget is spent"),
        best_step={key: 40 + key[1] for key in tables},
        measured={
            (name, seed): Measured(
                table=store.put_table("fidelity", _fidelity(seed)),
                gallery=store.put_images(sets["train"].take(np.arange(9))),
                time=Timed(began=0, seconds=1),
            )
            for name, seed in keys
        },
        seconds={(a, s): 1.0 for a in (*right, "generator gan") for s in experiment.seeds},
    )


@pytest.fixture(scope="module")
def results(stored: tuple[Experiment, Stored]) -> Results:
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
