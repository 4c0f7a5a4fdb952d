"""A confirm stage that trains nothing, over the results that are made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from augpipe.classifiers import scores
from augpipe.comparison.finalists import Finalists
from augpipe.core.store import Store, load_images, load_state
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.graph import More
from augpipe.pipeline.records import Scored
from augpipe.pipeline.runs import Runs

PAIR = Finalists("gan", "classic")


class Trained:
    """Trains nothing: every classifier predicts a planted part of the test images correctly."""

    def __init__(
        self,
        experiment: Experiment,
        runs: Runs,
        store: Store,
        right: Mapping[str, float],
        failed: Mapping[str, str] = {},
    ) -> None:
        self.first = runs.arms["real", experiment.seeds[0]]
        self.store, self.right, self.failed = store, right, failed
        self.calls = list[tuple[list[str], tuple[int, ...], More]]()

    def __call__(self, part: Experiment, more: More, known: Runs | None) -> tuple[Runs, Mapping[str, str]]:
        self.calls.append(([arm.name for arm in part.arms], part.seeds, dict(more)))
        runs = Runs(dict.fromkeys(part.seeds, self.first.prepared))
        for arm in part.arms:
            if arm.name in self.failed:
                continue
            others = [s for seed in part.seeds for s in more.get((arm.name, seed), ())]
            for seed in [*part.seeds, *others]:
                if known is not None and (arm.name, seed) in known.arms:
                    continue
                scored = self._scored(arm.name, seed)
                runs.arms[arm.name, seed] = replace(self.first, arm=arm, seed=seed, scored=scored)
        return runs, {arm: why for arm, why in self.failed.items() if arm in [a.name for a in part.arms]}

    def _scored(self, arm: str, seed: int) -> Scored:
        """Scores on test alone, of as many metrics as are needed: all of them take a second for ten classifiers."""
        test = load_images(self.first.prepared.splits.test)
        hit = np.random.default_rng([seed, len(arm)]).random(len(test)) < self.right[arm]
        predicted = np.eye(3, dtype=np.float32)[np.where(hit, test.labels, (test.labels + 1) % 3)]
        of_class = {name: scores.per_class[name](predicted, test.labels) for name in ("recall", "specificity")}
        rows = [(split, "macro_recall", "", of_class["recall"].mean()) for split in ("val", "test")]
        rows += [("test", m, c, v) for m, values in of_class.items() for c, v in zip(test.classes, values, strict=True)]
        rows.append(("test", "minority_recall", "", of_class["recall"][1:].mean()))
        table = pd.DataFrame(rows, columns=["split", "metric", "class", "value"])
        assert self.first.scored is not None
        state = {**load_state(self.first.scored.probabilities), "test": torch.from_numpy(predicted)}
        return Scored(
            arm=arm,
            seed=seed,
            table=self.store.put_table("scores", table),
            probabilities=self.store.put_state("p", state),
        )
