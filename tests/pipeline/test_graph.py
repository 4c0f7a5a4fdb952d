"""The graph of a comparison, run without an orchestrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs import Work, make_work
from reuse import go, job

from augpipe.classifiers.trained import from_state, predict
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline import cache
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.graph import call_stages, local
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.runs import Runs, resolve
from augpipe.pipeline.stages.synthesize import synthesize

REAL = "{name: real}"
SMOTE = "{name: smote, generator: smote, mix: {share: 0.3}}"
# Arms that differ in nothing but the share have the same plan.
TWIN = "{name: twin, generator: smote, mix: {share: 0.1}}"
QUICK = ("seeds=1", "classifier.steps=10", "fidelity={images: 8, gan_train: false}")


def with_arms(*arms: str) -> str:
    return f"arms=[{', '.join(arms)}]"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    arms = with_arms("{name: real}", SMOTE)
    return make_work(tmp_path_factory.mktemp("graph"), *QUICK, arms)


@pytest.fixture(scope="module")
def prepared(work: Work) -> Prepared:
    return work.prepare()


@pytest.fixture(scope="module")
def runs(work: Work, prepared: Prepared) -> Runs:
    return call_stages(work.experiment, {0: prepared}, local(work.context))


def tables(runs: Runs) -> dict[str, str]:
    """Digest of each arm's scores with the first seed."""
    return {arm: run.scored.table.sha256 for (arm, seed), run in runs.arms.items() if seed == 0}


def test_the_graph_gives_what_its_stages_give_by_hand(
    work: Work, prepared: Prepared, runs: Runs, tmp_path: Path
) -> None:
    """In a store of their own, in the order of the way of the data."""
    own = work.but(root=tmp_path / "store")
    data = own.prepare()
    assert data.splits.train.sha256 == prepared.splits.train.sha256
    reference = own.reference(data)
    generator = own.generator(data, reference, "smote")
    arm = own.arm("smote")
    synthetic = own.synthetic(data, reference, generator, own.plan(data, "smote"), False)
    found = {}
    for name, recipe in (("real", own.recipe(data, own.arm("real"))), ("smote", own.recipe(data, arm, synthetic))):
        classifier = own.classifier(data, recipe, name)
        found[name] = own.score(data, classifier, recipe).table.sha256
    assert found == tables(runs)
    measured = runs.generators["smote", 0].measured
    assert measured is not None
    assert own.measured(data, reference, generator).table.sha256 == measured.table.sha256


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def plain(value: Any) -> Any:
    """Futures by their results, as an orchestrator hands them to a task."""
    if isinstance(value, Future):
        return value.result()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_runner_of_futures_gives_the_same(
    work: Work, runs: Runs, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    own = work.but(root=tmp_path / "store")

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        return threads.submit(lambda: cache.run(stage, own.context, *plain(inputs)).value)

    done = call_stages(own.experiment, {0: own.prepare()}, call)
    results = list(done.results())
    assert results and all(isinstance(value, Future) for _, _, value in results)
    for run in (*done.references.values(), *done.generators.values(), *done.arms.values()):
        resolve(run, plain)
    assert not [value for _, _, value in done.results() if isinstance(value, Future)]
    assert tables(done) == tables(runs)
    recipes = [[cache.content(run.recipe) for run in one.arms.values()] for one in (done, runs)]
    assert recipes[0] == recipes[1]


def counting(work: Work, calls: list[tuple[str, str]]) -> Any:
    """A runner that notes each stage and its title."""

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        calls.append((stage.__name__, title))
        return cache.run(stage, work.context, *inputs).value

    return call


def test_arms_with_one_plan_share_their_images(work: Work, prepared: Prepared) -> None:
    calls: list[tuple[str, str]] = []
    both = work.set(with_arms("{name: real}", SMOTE, TWIN))
    runs = call_stages(both.experiment, {0: prepared}, counting(both, calls))
    assert len([name for name, _ in calls if name == synthesize.__name__]) == 1
    assert runs.arms["smote", 0].synthetic is runs.arms["twin", 0].synthetic
    # Another plan, or other checks, and the images are others'.
    other = work.set(
        with_arms(
            "{name: real}",
            SMOTE,
            "{name: few, generator: smote, mix: {share: 0.3, fill: {7: 3}}}",
            "{name: checked, generator: smote, mix: {share: 0.3, curated: true}}",
        )
    )
    calls.clear()
    runs = call_stages(other.experiment, {0: prepared}, counting(other, calls))
    assert len([name for name, _ in calls if name == synthesize.__name__]) == 3


@pytest.mark.parametrize(
    "arms",
    [
        ("{name: real}", SMOTE, TWIN, "{name: classic, mix: {sampler: balanced}}"),
        ("{name: real}",),
        (SMOTE, "{name: real}"),
        ("{name: real}", SMOTE.replace("name: smote", "name: renamed")),
    ],
    ids=["added", "removed", "reordered", "renamed"],
)
def test_other_arms_change_no_arms_scores(work: Work, runs: Runs, tmp_path: Path, arms: tuple[str, ...]) -> None:
    """Computed anew in a store of its own, so that nothing is equal because it was reused."""
    other = work.set(with_arms(*arms)).but(root=tmp_path / "store")
    before = tables(runs)
    after = tables(call_stages(other.experiment, {0: other.prepare()}, local(other.context)))
    after = {"smote" if name == "renamed" else name: sha for name, sha in after.items()}
    assert after and len(set(before.values())) == 2
    assert {name: sha for name, sha in after.items() if name in before} == {
        name: sha for name, sha in before.items() if name in after
    }


def test_every_call_is_a_result_of_some_run(work: Work, prepared: Prepared) -> None:
    """So that whoever follows a run sees each call end; only images that are pooled are made by several calls."""
    calls: list[tuple[str, str]] = []
    runs = call_stages(work.experiment, {0: prepared}, counting(work, calls))
    assert len(list(runs.results())) == len(calls)
    assert len(set(calls)) == len(calls), "titles tell calls apart"


def test_runs_of_the_kept_arms_and_generators(work: Work, runs: Runs) -> None:
    real: Arm = work.arm("real")
    left = work.experiment.model_copy(update={"arms": (real,), "generators": {}})
    kept = runs.keep(left)
    assert set(kept.arms) == {("real", 0)} and kept.generators == {}
    assert kept.prepared is runs.prepared


def test_arms_without_a_generator_need_no_reference_classifier(work: Work, prepared: Prepared) -> None:
    calls: list[tuple[str, str]] = []
    alone = work.set(with_arms("{name: real}"))
    call_stages(alone.experiment, {0: prepared}, counting(alone, calls))
    assert [name for name, _ in calls] == ["mix", "train_classifier", "score"]


ALL_ARMS = (
    "{name: real}",
    "{name: classic, mix: {sampler: balanced, transform: light}}",
    "{name: smote, generator: smote, mix: {share: 0.4}}",
)


@pytest.mark.parametrize(
    "arms",
    [
        (ALL_ARMS[2], ALL_ARMS[0]),  # fewer, in another order
        (ALL_ARMS[1].replace("classic", "other"), "{name: more, mix: {sampler: sqrt}}", *ALL_ARMS),
    ],
)
def test_an_arms_scores_do_not_depend_on_the_others(
    tmp_path: Path, alone: Mapping[str, str], arms: tuple[str, ...]
) -> None:
    """Removed, added, renamed or in another order: nothing is reused here, and every other arm's rows are the same."""
    others = scores_of(tmp_path, arms)
    assert {name: others[name] for name in alone if name in others} == {
        name: rows for name, rows in alone.items() if name in others
    }
    assert len(others) == len(arms)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return scores_of(tmp_path_factory.mktemp("arms"), ALL_ARMS)


def scores_of(place: Path, arms: tuple[str, ...]) -> dict[str, str]:
    sets = (f"arms=[{', '.join(arms)}]", "generators={smote: {kind: smote}}", "baseline=real")
    runs, _ = go(job(place / "store", *sets))
    return {
        name: load_table(run.scored.table).drop(columns="arm", errors="ignore").to_csv()
        for (name, _), run in runs.arms.items()
    }


def titles(work: Work, prepared: Prepared) -> list[str]:
    """Titles of the calls, none of them made."""
    calls: list[str] = []

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> str:
        calls.append(title)
        return title

    call_stages(work.experiment, {0: prepared}, call)
    return [title for title in calls if title.startswith(("classifier", "head"))]


def test_heads_replace_those_of_the_arm_without_one(work: Work, prepared: Prepared) -> None:
    """Without such an arm, one classifier is trained for several heads."""
    heads = ("{name: tau, mix: {sampler: sqrt, head: tau}}", "{name: lda, mix: {sampler: sqrt, head: lda}}")
    base = "{name: sqrt, mix: {sampler: sqrt}}"
    first, replaced = ["classifier real, seed 0"], ["head tau, seed 0", "head lda, seed 0"]
    assert titles(work.set(with_arms(REAL, *heads, base)), prepared) == [*first, "classifier sqrt, seed 0", *replaced]
    assert titles(work.set(with_arms(REAL, *heads)), prepared) == [
        *first,
        "classifier the base of tau, seed 0",
        *replaced,
    ]


def test_the_stored_classifier_with_a_head_gives_the_stored_scores(work: Work, prepared: Prepared) -> None:
    one = work.set(with_arms(REAL, "{name: lda, mix: {head: lda}}"))
    runs = call_stages(one.experiment, {0: prepared}, local(one.context))
    real, lda = (runs.arms[name, 0] for name in ("real", "lda"))
    assert lda.base == real.classifier
    trained = from_state(load_state(lda.classifier.state), one.runtime)
    predicted = predict(trained, load_images(prepared.splits.test), one.runtime)
    stored = load_state(lda.scored.probabilities)["test"].numpy()
    assert np.array_equal(predicted, stored)
    assert not np.array_equal(load_state(real.scored.probabilities)["test"].numpy(), stored)
