"""The confirm stage: fresh seeds, looks, what is trained, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import PAIR, Trained
from stored_results import stored

from augpipe.comparison.finalists import Finalists
from augpipe.comparison.options import METRICS, Confirm
from augpipe.core.errors import UserError
from augpipe.core.store import Store, load_table
from augpipe.pipeline.confirm import Confirmed, NotConfirmed, confirm, fresh_seeds, looks, pooled_seeds, stage
from augpipe.pipeline.experiment import Experiment, build
from augpipe.pipeline.graph import train_and_score
from augpipe.pipeline.refresh import challenger, choose
from augpipe.pipeline.replicates import explored
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.schema_file import config_schema
from augpipe.pipeline.stages.prepare import check_metric
from augpipe.pipeline.stages.train_classifier import train_classifier

__all__ = ["stored"]


@given(st.sets(st.integers(0, 5000), min_size=1), st.integers(1, 1000), st.integers(1, 5), st.integers(1, 5))
def test_fresh_seeds_are_fresh_distinct_and_do_not_move(seeds: set[int], g: int, r: int, more: int) -> None:
    fresh = fresh_seeds(sorted(seeds), Confirm.model_construct(generators=g, classifiers=r))
    every = [seed for of in fresh.values() for seed in of]
    assert len(every) == len(set(every)) == g * r and not set(every) & seeds
    assert all(of[0] == seed for seed, of in fresh.items())
    options = Confirm.model_construct(generators=min(g + more, 1000), classifiers=r + more)
    larger = fresh_seeds(sorted(seeds, reverse=True), options)
    assert all(larger[seed][:r] == of for seed, of in fresh.items())


def test_looks() -> None:
    assert looks(Confirm()) == (5, 10)
    assert looks(Confirm(generators=25)) == (5, 10, 20, 25)
    assert looks(Confirm(generators=4)) == (4,)
    assert looks(Confirm(generators=25, until="fixed")) == (25,)


VALUES: dict[str, Any] = {"name": "x", "source": {"kind": "bundled"}, "arms": [{"name": "a"}], "baseline": "a"}


def test_it_is_on_unless_it_is_off() -> None:
    assert build(VALUES).confirm == Confirm()
    for off in ("off", False):
        assert build({**VALUES, "confirm": off}).confirm == "off"
    assert build({**VALUES, "confirm": "on"}).confirm == Confirm()
    again = build({**VALUES, "confirm": {"generators": 7}})
    assert build(again.model_dump(mode="json")) == again
    for wrong, message in (
        ({"generators": 2}, "confirm: generators: .*greater than or equal to 3"),
        ({"generator": 5}, "confirm: unknown key 'generator'.*did you mean 'generators'"),
        ("of", "confirm: must be off, or keys and values such as generators: 10; got 'of'"),
    ):
        with pytest.raises(UserError, match=message):
            build({**VALUES, "confirm": wrong})


@pytest.fixture
def planted(stored: tuple[Experiment, Runs], tmp_path) -> Any:
    experiment, runs = stored
    with_options = experiment.model_copy(update={"confirm": Confirm(generators=10, classifiers=2)})

    def make(right: Mapping[str, float], **more: Any) -> tuple[Experiment, Trained]:
        return with_options, Trained(with_options, runs, Store(tmp_path / "store"), right, **more)

    return make


def test_a_clear_gain_ends_at_the_first_look(planted: Any) -> None:
    experiment, train = planted({"real": 0.3, "classic": 0.3, "gan": 0.95})
    experiment = experiment.model_copy(update={"metric": "minority_recall"})
    lines = list[str]()
    confirmed = confirm(experiment, PAIR, train, lines.append)
    assert isinstance(confirmed, Confirmed)
    assert confirmed.outcome.decision == "better" and confirmed.planned == (5, 10)
    seeds = (3, 4, 5, 6, 7)
    more = {(arm, s): [s + 1000] for arm in ("gan", "classic") for s in seeds}
    assert train.calls == [(["real", "classic", "gan"], seeds, more)], "one of the baseline"
    assert confirmed.experiment.seeds == seeds and not set(seeds) & set(experiment.seeds)
    assert np.shape(confirmed.outcome.values) == (5, 2)
    assert lines == ["confirm: 'gan' against 'classic', both chosen by val, with fresh seeds 3 to 7"]
    assert set(confirmed.scores.seed) == {*seeds, *(s + 1000 for s in seeds)}
    levels = confirmed.levels()
    assert set(levels) == {"real", "classic", "gan"} and confirmed.outcome.metric == "minority_recall"
    gain = 100 * (levels["gan"] - levels["classic"])
    assert confirmed.outcome.difference == pytest.approx(gain), "of the classes 1 and 2 alone"
    recalls = confirmed.scores[(confirmed.scores.metric == "recall") & (confirmed.scores.arm == "gan")]
    of_class = recalls.groupby("class", sort=False).value.mean()
    assert levels["gan"] == pytest.approx(of_class.iloc[1:].mean())


def test_two_arms_leave_nothing_to_choose_so_that_every_seed_counts(
    planted: Any, stored: tuple[Experiment, Runs]
) -> None:
    """The seeds of the first stage are the first replicates, with further classifiers on them;
    their own are not trained again.
    """
    experiment, train = planted({"real": 0.3, "gan": 0.95})
    pair, runs = Finalists("gan", "real"), stored[1]
    arms = tuple(arm for arm in experiment.arms if arm.name in ("real", "gan"))
    two = experiment.model_copy(update={"arms": arms})
    lines = list[str]()
    confirmed = confirm(two, pair, train, lines.append, first=runs)
    assert isinstance(confirmed, Confirmed) and confirmed.pooled == (0, 1, 2)
    seeds = (0, 1, 2, 3, 4)
    more = {(arm, s): [s + 1000] for arm in ("gan", "real") for s in seeds}
    assert train.calls == [(["real", "gan"], seeds, more)]
    assert confirmed.runs.arms["gan", 2] is runs.arms["gan", 2], "as the first stage left it"
    assert np.shape(confirmed.outcome.values) == (5, 2) and confirmed.planned == (5, 10)
    assert lines == [
        "confirm: 'gan' against 'real', the only two arms, so that no seed was used to choose them, with seeds 0 to 4"
    ]
    of_seeds = two.model_copy(update={"confirm": Confirm(generators=3, classifiers=1)})
    train.calls.clear()
    done = confirm(of_seeds, pair, train, first=runs)
    assert isinstance(done, Confirmed) and done.outcome.generators == 3 and not train.calls
    for other in (
        {"arms": experiment.arms},  # validation chooses the rival
        {"confirm": Confirm(classifiers="auto")},  # the seeds choose what is trained
        {"seeds": (0, 1000)},  # whose further classifiers would have one seed
    ):
        assert not pooled_seeds(two.model_copy(update=other), pair)


def test_a_metric_that_the_training_images_cannot_give() -> None:
    experiment = build({**VALUES, "metric": "minority_recall"})
    check_metric(experiment, {0: 5, 1: 6})
    message = "minority_recall needs classes with fewer training images.*every class has 5; choose from macro_recall, macro_f1, "
    with pytest.raises(UserError, match=message):
        check_metric(experiment, {0: 5, 1: 5})
    assert config_schema()["properties"]["metric"]["enum"] == list(METRICS)


def test_looks_begin_at_what_is_trained() -> None:
    assert looks(Confirm(generators=20), pooled=6) == (10, 20)
    assert looks(Confirm(generators=5), pooled=8) == (8,)


def test_without_a_difference_it_goes_on_and_only_trains_more(planted: Any) -> None:
    """Equal rates, different images: no difference, and far too few test images to show that there is none."""
    experiment, train = planted({"real": 0.3, "classic": 0.7, "gan": 0.7})
    confirmed = confirm(experiment, PAIR, train)
    assert isinstance(confirmed, Confirmed) and len(confirmed.outcomes) == len(train.calls) == 2
    assert train.calls[1][1] == (8, 9, 10, 11, 12), "the first five are not trained again"
    assert [one.generators for one in confirmed.outcomes] == [5, 10]


def test_a_finalist_that_fails_ends_it_and_the_baseline_does_not(planted: Any) -> None:
    right = {"real": 0.3, "classic": 0.3, "gan": 0.95}
    experiment, train = planted(right, failed={"gan": "out of memory"})
    result = confirm(experiment, PAIR, train)
    assert isinstance(result, NotConfirmed) and result.failed == {"gan": "out of memory"}
    experiment, train = planted(right, failed={"real": "out of memory"})
    confirmed = confirm(experiment, PAIR, train)
    assert isinstance(confirmed, Confirmed) and set(confirmed.levels()) == {"classic", "gan"}


@pytest.mark.parametrize(
    ("changes", "pair", "reason"),
    [
        ({"confirm": "off"}, PAIR, "confirm: off"),
        ({"resplit": True}, PAIR, "resplit"),
        ({}, Finalists(None, "real"), "no arm was trained with images of a trained generator"),
    ],
)
def test_where_there_is_none_it_says_why(planted: Any, changes: dict[str, Any], pair: Finalists, reason: str) -> None:
    experiment, train = planted({})
    result = confirm(experiment.model_copy(update=changes), pair, train)
    assert isinstance(result, NotConfirmed) and reason in result.reason and not train.calls


def test_the_graph_trains_further_classifiers_on_one_generator(stored: tuple[Experiment, Runs]) -> None:
    """Each seed has one generator, one synthetic set and one recipe an arm;
    both arms' classifiers have the same seeds.
    """
    experiment, runs = stored
    calls = list[tuple[Any, tuple[Any, ...]]]()

    def call(function: Any, *inputs: Any, title: str, total: float | None = None) -> Any:
        calls.append((function, inputs))
        return len(calls)

    part = stage(experiment, ["classic", "gan"], [7, 8])
    prepared = dict.fromkeys((7, 8), runs.prepared[experiment.seeds[0]])
    more = {(arm, seed): [seed + 1000] for arm in ("classic", "gan") for seed in (7, 8)}
    nested = train_and_score(part, prepared, call, more)
    names = [function.__name__ for function, _ in calls]
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {
        "train_reference": 2,
        "train_generator": 2,
        "synthesize": 2,
        "mix": 4,
        "train_classifier": 8,
        "score": 8,
    }
    trained = [inputs for function, inputs in calls if function is train_classifier]
    for arm in ("classic", "gan"):
        assert sorted(i[4] for i in trained if i[3] == arm) == [7, 8, 1007, 1008]
        assert nested.arms[arm, 7].recipe == nested.arms[arm, 1007].recipe
        assert nested.arms[arm, 7].classifier != nested.arms[arm, 1007].classifier


def test_what_the_first_stage_measured(stored: tuple[Experiment, Runs]) -> None:
    experiment, runs = stored
    generative = {"real": False, "classic": False, "gan": True}
    result = explored(experiment, runs, generative)
    assert result.seconds == {"real": (0.0, 1.0), "classic": (0.0, 1.0), "gan": (1.0, 1.0)}
    assert {name: len(of) for name, of in result.scores.items()} == dict.fromkeys(generative, 3)
    table = {arm: load_table(runs.arms[arm, 2].scored.table) for arm in generative}  # type: ignore[union-attr]
    for arm, of in table.items():
        by_split = of[(of.metric == "macro_recall") & (of["class"] == "")].set_index("split").value
        assert result.scores[arm][2] == 100 * by_split["val"] != 100 * by_split["test"], "test has no part in it"


@pytest.mark.parametrize(
    ("gan", "decision", "arm"), [(0.8, "better", "gan"), (0.1, "worse", "classic"), (0.41, "undecided", "gan")]
)
def test_the_decision_gives_the_arm_that_challenges(
    stored: tuple[Experiment, Runs], tmp_path: Path, gan: float, decision: str, arm: str
) -> None:
    """`augpipe refresh`: the best training of that arm on val; where nothing is decided, the one that val chose."""
    experiment = stored[0].model_copy(update={"confirm": Confirm(generators=5, classifiers=2)})
    train = Trained(experiment, stored[1], Store(tmp_path), {"real": 0.3, "classic": 0.4, "gan": gan})
    confirmed = confirm(experiment, PAIR, train)
    assert isinstance(confirmed, Confirmed) and confirmed.outcome.decision == decision
    explore = [
        load_table(run.scored.table).assign(arm=name, seed=seed)
        for (name, seed), run in stored[1].arms.items()
        if run.scored is not None
    ]
    scores = pd.concat(explore)
    first = choose(scores)
    choice, run = challenger(scores, stored[1], confirmed)
    assert (choice.arm, run.arm.name, run.seed) == (arm, arm, choice.seed)
    if decision == "undecided":
        assert choice == first == challenger(scores, stored[1], NotConfirmed("off", {}))[0]
        return
    assert choice.decision == decision and choice.seed in confirmed.classifiers[choice.generator or 0]
    val = confirmed.scores[(confirmed.scores.split == "val") & (confirmed.scores.arm == arm)]
    assert choice.val == val.value.max() == val.set_index("seed").value[choice.seed]
