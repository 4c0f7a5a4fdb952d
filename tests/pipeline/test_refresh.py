"""The policy of `refresh`: what counts as changed, who challenges, and who is in service afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import CONFIG

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref, SplitRefs
from augpipe.core.store import Store, load_state
from augpipe.pipeline import refresh
from augpipe.pipeline.experiment import Experiment, build
from augpipe.pipeline.records import Prepared


def experiment(*overrides: str) -> Experiment:
    return build(yaml.safe_load(CONFIG), overrides)


def test_the_source_and_every_setting_but_the_runner_count() -> None:
    state = refresh.state_of_source(experiment(), "abc")
    assert state == refresh.state_of_source(experiment("runner.workers=2"), "abc")
    assert state != refresh.state_of_source(experiment(), "abd")
    for change in ("classifier.steps=31", "promotion.rule=not worse", "generators.acgan.width=0.07"):
        assert state != refresh.state_of_source(experiment(change), "abc")


def scores(*rows: tuple[str, int, str, float]) -> pd.DataFrame:
    """(arm, seed, split, macro recall), beside figures that are not to be looked at."""
    tidy = [(arm, seed, split, "macro_recall", "", value) for arm, seed, split, value in rows]
    tidy += [(arm, seed, "val", "macro_recall", "c0", 1.0) for arm, seed, *_ in rows]
    tidy += [(arm, seed, "val", "accuracy", "", 1 - value) for arm, seed, _, value in rows]
    return pd.DataFrame(tidy, columns=["arm", "seed", "split", "metric", "class", "value"])


def test_the_best_mean_on_val_and_its_best_seed_challenge() -> None:
    found = refresh.choose(
        scores(
            ("lucky", 0, "val", 0.95),
            ("lucky", 1, "val", 0.5),
            ("steady", 0, "val", 0.8),
            ("steady", 1, "val", 0.82),
            ("overfit", 0, "val", 0.1),
            ("overfit", 1, "val", 0.1),
            ("overfit", 0, "test", 0.99),
            ("overfit", 1, "test", 0.99),
        )
    )
    assert found == refresh.Choice("steady", 1, 0.82)
    equal = refresh.choose(scores(("b", 3, "val", 0.5), ("a", 3, "val", 0.5)))
    assert equal.arm == "b"


class Night:
    """A store with prepared data of three classes, and two classifiers: one that learned, one that did not."""

    def __init__(self, place: Path, here: Runtime, shapes: Callable[..., ImageSet]) -> None:
        store = Store(place)
        self.sides = [shapes((n, n, n), seed=seed) for seed, n in enumerate((20, 10, 40))]
        splits = SplitRefs(**dict(zip(("train", "val", "test"), map(store.put_images, self.sides), strict=True)))
        self.prepared = Prepared.model_construct(splits=splits, classes=self.sides[0].classes, size=16, channels=1)
        self.good, self.bad = (self.state(store, here, steps) for steps in (40, 1))
        self.experiment = experiment()

    def state(self, store: Store, here: Runtime, steps: int) -> Ref:
        options = ClassifierOptions(width=0.25, steps=steps, batch=16, evaluations=1)
        mixture = Mixture(self.sides[0], None, Mix(), here, seed=0)
        trained = classification.train(mixture, self.sides[1], options, here, seed=0)
        return store.put_state("classifiers", trained_classifier.state_of(trained, options))

    def challenger(self, state: Ref) -> refresh.Challenger:
        return refresh.Challenger(refresh.Choice("real", 0, 0.9), state, self.prepared)

    def champion(self, state: Ref, **more: Any) -> refresh.Champion:
        problem = refresh.problem(self.prepared, self.experiment)
        nothing = np.empty(0, np.uint64)
        return replace(refresh.Champion(load_state(state), state.sha256, problem, nothing), **more)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, here: Runtime) -> Night:
    from shapes import shapes

    return Night(tmp_path_factory.mktemp("night") / "store", here, shapes)


def test_the_first_model_goes_into_service(night: Night, here: Runtime) -> None:
    found = refresh.decide(None, night.challenger(night.bad), night.experiment, here)
    assert found is not None and found.promote and found.reason == "there was no champion"


def test_the_better_one_replaces_the_worse_one_and_not_the_reverse(night: Night, here: Runtime) -> None:
    up = refresh.decide(night.champion(night.bad), night.challenger(night.good), night.experiment, here)
    assert up is not None and up.promote and up.interval is not None and up.interval.low > 0
    down = refresh.decide(night.champion(night.good), night.challenger(night.bad), night.experiment, here)
    assert down is not None and not down.promote and "not shown to be better" in down.reason


def test_a_champion_that_is_chosen_again_stays_as_it_is(night: Night, here: Runtime) -> None:
    champion, same = night.champion(night.good), night.challenger(night.good)
    assert refresh.decide(champion, same, night.experiment, here) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"problem": None}, "an unknown problem"),
        ({"problem": "1x28x28 images"}, "they cannot be compared"),
        ({"seen": None}, "not on record"),
    ],
    ids=["no problem", "another problem", "nothing on what was seen"],
)
def test_what_cannot_be_compared_stays(night: Night, here: Runtime, changed: dict[str, Any], reason: str) -> None:
    champion = night.champion(night.bad, **changed)
    found = refresh.decide(champion, night.challenger(night.good), night.experiment, here)
    assert found is not None and not found.promote and reason in found.reason


def test_images_that_the_champion_has_seen_are_left_out(night: Night, here: Runtime) -> None:
    """It learned from the whole new test set: nothing is left to compare on."""
    swapped = SplitRefs(
        train=night.prepared.splits.test, val=night.prepared.splits.val, test=night.prepared.splits.train
    )
    seen = refresh.seen_images(night.prepared.model_copy(update={"splits": swapped}))
    assert len(seen) == len(np.unique(seen)) == 120 + 30
    champion = night.champion(night.bad, seen=seen)
    found = refresh.decide(champion, night.challenger(night.good), night.experiment, here)
    assert found is not None and not found.promote
    assert "too few test images that the champion has not seen: 0" in found.reason


def test_the_problem_is_images_their_options_and_classes_in_order(night: Night) -> None:
    told = refresh.problem(night.prepared, night.experiment)
    assert told.startswith("1x16x16 images (") and told.endswith('of ["c0", "c1", "c2"]')
    turned = night.prepared.model_copy(update={"classes": ("c1", "c0", "c2")})
    assert refresh.problem(turned, night.experiment) != told
    assert refresh.problem(night.prepared, experiment("image.resize=crop")) != told
