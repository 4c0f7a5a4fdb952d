"""The answer of a run: its sentence, the advice, and what summary.json has of both stages."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from planted import PAIR, Trained
from stored_results import CLASSES

from augpipe.comparison.options import LABELS, METRICS, Confirm
from augpipe.comparison.paired import difference, newcombe
from augpipe.comparison.units import Units
from augpipe.core.store import Store, load_images, load_state
from augpipe.pipeline.budget import duration
from augpipe.pipeline.confirm import OFF, Confirmed, NotConfirmed, confirm
from augpipe.pipeline.experiment import RESPLIT, Experiment
from augpipe.pipeline.outputs import outputs
from augpipe.pipeline.outputs import test_labels as labels_of
from augpipe.pipeline.records import Timed
from augpipe.pipeline.runs import Runs
from augpipe.report.answer import ADVICE, advice, situation, verdict
from augpipe.report.answer_section import answer_section
from augpipe.report.collect import collect, with_confirmed
from augpipe.report.out import check_out
from augpipe.report.page import page
from augpipe.report.results import Results
from augpipe.report.write import write

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "summary.schema.json"


@pytest.fixture(scope="module")
def confirmed(stored: tuple[Experiment, Runs], tmp_path_factory: pytest.TempPathFactory) -> Confirmed:
    """A gain from 40% to 80% of the test images, on five fresh replicates of two classifiers."""
    experiment = stored[0].model_copy(update={"confirm": Confirm(generators=5, classifiers=2)})
    store = Store(tmp_path_factory.mktemp("confirm"))
    train = Trained(experiment, stored[1], store, {"real": 0.3, "classic": 0.4, "gan": 0.8})
    result = confirm(experiment, PAIR, train)
    assert isinstance(result, Confirmed) and result.outcome.decision == "better"
    return result


def of(confirmed: Confirmed, **changes: Any) -> Confirmed:
    """The same stage with another result at its last look, after 100 s."""
    return replace(confirmed, outcomes=(replace(confirmed.outcome, **changes),), seconds=100.0)


@pytest.mark.parametrize(
    ("changes", "sentence", "row"),
    [
        (
            {"difference": 1.8, "low": 0.6, "high": 3.0},
            "Synthetic images from gan raised macro recall by 1.8 points (0.6 to 3.0) over the best method without "
            "them, confirmed on 5 fresh trainings.",
            "better",
        ),
        (
            {"decision": "worse", "difference": -1.8, "low": -3.0, "high": -0.6},
            "Synthetic images from gan lowered macro recall by 1.8 points (0.6 to 3.0) against the best method "
            "without them, confirmed on 5 fresh trainings.",
            "worse",
        ),
        (
            {"decision": "equivalent", "difference": 0.1, "low": -0.4, "high": 0.6, "inner": (-0.3, 0.45)},
            "Synthetic images from gan made no difference larger than 0.5 points compared with the best method without "
            "them (90% interval -0.3 to +0.5), confirmed on 5 fresh trainings.",
            "equivalent",
        ),
        (
            {"decision": "undecided", "difference": 0.7, "low": -0.5, "high": 1.9, "replicates_needed": 17},
            "Not decided: synthetic images from gan changed macro recall by +0.7 points (-0.5 to +1.9) over the best "
            "method without them on 5 fresh trainings; 12 more trainings, about 4.0 min, would decide in 4 of 5 cases.",
            "more replicates",
        ),
        (
            {"decision": "undecided", "difference": 0.0, "low": -9.0, "high": 9.0, "replicates_needed": None},
            "more trainings alone would not decide, more test images may.",
            "more test images",
        ),
        (
            {"decision": "undecided", "reason": "too few test images", "replicates_needed": None},
            "at least 5 test images of every class, of as many groups, are needed.",
            "more test images",
        ),
    ],
)
def test_every_decision_has_a_sentence_and_an_advice(
    confirmed: Confirmed, results: Results, changes: dict[str, Any], sentence: str, row: str
) -> None:
    one = of(confirmed, **changes)
    assert verdict(results.comparison, one, {}).endswith(sentence)
    assert situation(one, generative=True) == row
    assert verdict(results.comparison, one, {"x": "why"}).endswith("Failed and not compared: 'x'.")


def test_the_time_of_more_trainings_is_measured_where_results_were_reused(
    confirmed: Confirmed, results: Results
) -> None:
    """Two at once count once; a command that found all of them finished took a second."""
    runs = {}
    for at, (key, run) in enumerate(confirmed.runs.arms.items()):
        assert run.classifier is not None
        time = Timed(began=1e9 + 30.0 * (at // 2), seconds=30.0)
        runs[key] = replace(run, classifier=run.classifier.model_copy(update={"time": time}), synthetic=None)
    one = of(confirmed, decision="undecided", replicates_needed=7)
    one = replace(one, runs=replace(confirmed.runs, arms=runs), seconds=1.0)
    whole = 30.0 * -(-len(runs) // 2)
    assert f"2 more trainings, about {duration(2 * whole / 5)}, would" in verdict(results.comparison, one, {})
    again = with_confirmed(replace(results, training_seconds=100.0), one, 1.0)
    took = f"The trainings took {duration(100.0 + whole)}; the last command reused stored ones and took 1 s."
    assert answer_section(again)["cost"] == took and again.summary()["training_seconds"] == 100.0 + whole
    first = replace(results, training_seconds=100.0, seconds=1.0)
    assert answer_section(first)["cost"].startswith("The trainings took"), "without a confirm stage as well"


def test_without_a_confirm_stage_it_is_a_first_look(results: Results) -> None:
    off, failed = NotConfirmed(OFF, {}), NotConfirmed("the confirm stage failed for 'gan'", {"gan": "x"})
    assert verdict(results.comparison, off, {}).startswith("A first look, not confirmed. Synthetic")
    text = "A first look, not confirmed (the confirm stage failed for 'gan'). Synthetic"
    assert verdict(results.comparison, failed, {}).startswith(text)
    own_splits = NotConfirmed(RESPLIT, {})
    assert verdict(results.comparison, own_splits, {}).startswith(
        "A first look, not confirmed (with resplit each seed has its own test images"
    )
    rows = [situation(one, generative=True) for one in (off, failed, own_splits)]
    rows.append(situation(off, generative=False))
    assert rows == ["first look", "failed", "resplit", "no generator"]
    reached = {*rows, "better", "worse", "equivalent", "more replicates", "more time", "more test images"}
    assert reached == set(ADVICE), "every row can be reached"


def test_the_advice_names_what_limits_the_number_of_trainings(confirmed: Confirmed) -> None:
    """`confirm.generators` (here 5), or the time: with a larger number already, or with `classifiers: auto`."""
    undecided = of(confirmed, decision="undecided", replicates_needed=17)
    assert "`--set confirm.generators=17`" in advice(undecided, generative=True)
    for options in (Confirm(generators=20), Confirm(generators=5, classifiers="auto")):
        experiment = undecided.experiment.model_copy(update={"confirm": options})
        limited = replace(undecided, experiment=experiment)
        assert situation(limited, generative=True) == "more time"
        assert "longer `--budget`" in advice(limited, generative=True)


def test_the_summary_is_what_its_schema_says(confirmed: Confirmed, results: Results, tmp_path: Path) -> None:
    """Of both stages; keys that the schema lacks are refused, so that it cannot fall behind."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    both = with_confirmed(results, confirmed, 20.0)
    for name, one in (("explore", results), ("confirm", both)):
        write(one, tmp_path / name)
        summary = json.loads((tmp_path / name / "summary.json").read_text("utf-8"))
        jsonschema.validate(summary, schema)
        assert summary["stage"] == name and summary["verdict"] == one.verdict
        assert (tmp_path / name / "confirm.csv").exists() == (name == "confirm")
        pairs = pd.read_csv(tmp_path / name / "differences.csv")
        assert len(pairs) == len(summary["arms"]) * (len(summary["arms"]) - 1) / 2
        over = pairs[pairs.reference == summary["baseline"]]
        for arm, points in zip(over.arm, over.difference, strict=True):
            assert points == pytest.approx(100 * summary["arms"][arm]["gain"]["mean"], abs=1e-9)
    assert summary["finalists"]["with_generator"] == "gan" and summary["seconds"] == 20.0
    assert summary["confirm"]["seeds"]["3"] == [3, 1003]
    classifier = summary["models"]["classifier.pt"]
    assert classifier["name"] == "gan" and classifier["seed"] >= 3, "of the fresh trainings of the winner"
    assert "best of the 10 trainings of the arm that the confirm stage decided for" in classifier["chosen"]
    names = [one["name"] for one in summary["confirm"]["secondary"]]
    assert names == ["macro_f1", "macro_auc", "minority_recall", "worst_class_recall", *CLASSES[::-1]]
    assert [len(row) for row in summary["confirm"]["differences"]] == [2] * 5
    del summary["confirm"]["decision"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, schema)
    lines = (tmp_path / "confirm" / "predictions.csv").read_text("utf-8").splitlines()
    assert any(line.startswith("gan,1003,test") for line in lines)
    check_out(tmp_path / "confirm")  # a later run may replace it, with its confirm.csv


def test_the_page_begins_with_the_answer(confirmed: Confirmed, results: Results) -> None:
    """In the order of the reader: answer, glossary, rare classes with their test images, advice,
    figure, cost, first look.
    """
    text = page(with_confirmed(results, confirmed, 20.0))
    order = [
        "Synthetic images from gan raised",
        "Validation chose the two in a first look at all arms (3 seeds)",
        "<b>gan</b>. Best method without them: the arm <b>classic</b>",
        "Macro recall is the sensitivity of a class",
        "<h2>Rare classes</h2>",
        "The intervals of the differences hold for all of these classes together",
        ADVICE["better"].split("`")[0],
        "<h2>Each fresh training of the two arms</h2>",
        "Difference in macro recall of each fresh training",
        "The run took 20 s, of which",
        "<h2>Other metrics, and each class</h2>",
        "<h2>Experiment</h2>",
        "Nothing is tested here",
        "Validation chose classic among 2 arms without a trained generator",
        "scores of an arm that was chosen are somewhat too high here. The answer above is of fresh seeds",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "<th>p-value</th>" not in text.partition("Effect sizes")[0], "the first look has no verdicts"
    assert '<td class="name">gan − classic</td>' in text.partition("Every arm against every other")[2]
    assert not answer_section(with_confirmed(results, confirmed, 20.0))["design"], "numbers as the config says"
    chosen = with_confirmed(results, replace(confirmed, design="5 generators with 2 classifiers."), 20.0)
    assert answer_section(chosen)["design"] == "5 generators with 2 classifiers."
    first = page(results)
    assert "A first look, not confirmed." in first and "Nothing is tested here" not in first
    assert "Of the first look: without intervals." in first and "<th>p-value</th>" in first


def test_rare_classes_have_their_test_images_and_their_scores(confirmed: Confirmed, results: Results) -> None:
    rows = answer_section(with_confirmed(results, confirmed, 20.0))["rare"]
    assert [row[:3] for row in rows] == [(CLASSES[2], "5", "20"), (CLASSES[1], "10", "20")]
    scores = confirmed.scores[confirmed.scores.split == "test"]
    for row in rows:
        of = scores[scores["class"] == row[0]].groupby(["metric", "arm"]).value.mean()
        without, with_generator = (100 * of["recall", arm] for arm in ("classic", "gan"))
        specific = [100 * of["specificity", arm] for arm in ("classic", "gan")]
        for cell, mean in zip((row[3], row[4], row[6], row[7]), (without, with_generator, *specific), strict=True):
            value, low, high = map(float, re.findall(r"[\d.]+", cell))
            assert value == pytest.approx(mean, abs=0.06) and 0 <= low < value < high <= 100
        change, low, high = map(float, re.findall(r"[+-][\d.]+", row[5]))
        assert low <= change <= high and change == pytest.approx(with_generator - without, abs=0.06)


def test_what_the_forest_shows_is_what_the_tables_say(confirmed: Confirmed, results: Results) -> None:
    """One family: the figure, its table,
    the table of rare classes and summary.json have the same intervals, wider than alone.
    """
    both = with_confirmed(results, confirmed, 20.0)
    section = answer_section(both)
    of_class = {one.label: one for one in both.secondary if one.label is not None}
    for one in both.secondary:
        assert one.with_generator - one.without == pytest.approx(one.difference)
    for row, label in zip(section["rare"], (2, 1), strict=True):
        one = of_class[label]
        assert row[5] == f"{one.difference:+.1f} ({one.low:+.1f} to {one.high:+.1f})"
        table = next(cells for cells in section["secondary"] if cells[0] == f"{CLASSES[label]} (20)")
        assert table[3:5] == (f"{one.difference:+.1f}", f"{one.low:+.1f} to {one.high:+.1f}")
        alone = difference(
            *(outputs(confirmed.runs, arm, confirmed.classifiers) for arm in ("gan", "classic")),
            Units(*labels_of(confirmed.runs)),
            classes=(label,),
        ).interval(0.05)
        assert one.low < alone[0] < alone[1] < one.high
    assert base64.b64decode(section["forest"].split(",")[1]).count(b"<use") > len(both.secondary)


def test_a_class_that_neither_finalist_hits_is_no_certain_tie(
    confirmed: Confirmed, results: Results, tmp_path: Path
) -> None:
    """Every image of class 2 is taken for another class, by both arms in every training."""
    runs, wrong = confirmed.runs, dict[tuple[str, int], Any]()
    store = Store(tmp_path)
    for key, run in runs.arms.items():
        state = load_state(run.scored.probabilities)
        state["test"] = torch.where(torch.arange(3) == 2, 0.0, state["test"] + torch.tensor([0.1, 0, 0]))
        scored = run.scored.model_copy(update={"probabilities": store.put_state("p", state)})
        wrong[key] = replace(run, scored=scored)
    silent = replace(confirmed, runs=replace(runs, arms=wrong))
    both = with_confirmed(results, silent, 20.0)
    rare = {one.label: one for one in both.secondary}[2]
    assert rare.difference == 0 and rare.remark == "0 of 20 by both"
    assert rare.low == -rare.high < -100 * newcombe(0, 20, 0.05)
    assert answer_section(both)["rare"][0][5].endswith("): 0 of 20 by both")


@pytest.mark.parametrize("metric", [m for m in METRICS if m != "macro_recall"])
def test_another_metric_is_that_of_choice_levels_gains_words_and_models(
    stored: tuple[Experiment, Runs], metric: Any
) -> None:
    """Values are those of scores.csv; the worst class is the lowest of its recalls."""
    experiment = stored[0].model_copy(update={"metric": metric})
    results = collect(experiment, stored[1], 1.0)
    summary = results.summary()
    assert summary["metric"] == metric and summary["finalists"]["chosen_by"] == f"val {metric}"
    scores = results.scores[(results.scores.arm == "gan") & (results.scores.split == "test")]
    rows = scores[(scores.metric == metric) & (scores["class"] == "")].value
    if metric == "worst_class_recall":
        rows = scores[scores.metric == "recall"].groupby("seed").value.min()
    assert summary["arms"]["gan"]["mean"] == pytest.approx(rows.mean())
    assert list(summary["arms"]["gan"]["by_seed"].values()) == pytest.approx(rows.tolist())
    assert LABELS[metric] in results.verdict and "macro recall" not in results.verdict
    assert LABELS[metric] in results.models[0].chosen
    gain = results.comparison.over_baseline["gan"]
    assert gain.interval.mean == pytest.approx(results.level("gan") - results.level("real"))
    split = experiment.model_copy(update={"resplit": True})
    assert collect(split, stored[1], 1.0).comparison.levels["gan"].mean == pytest.approx(rows.mean())


def test_groups_of_test_images_by_attribute(
    stored: tuple[Experiment, Runs], results: Results, confirmed: Confirmed, tmp_path: Path
) -> None:
    """Of the first look's classifiers, then of the confirm stage's: attributes.csv, summary.json and the page agree."""
    experiment, runs = stored
    test = load_images(runs.prepared[0].splits.test)
    scanner = np.array(["old", "new", "new", ""], object)[np.arange(len(test)) % 4]
    scanner[0] = "rare"
    table = pd.DataFrame({"split": "test", "id": test.table["id"], "attribute scanner": scanner})
    ref = Store(tmp_path).put_table("attributes", table)
    prepared = {seed: one.model_copy(update={"attributes": ref}) for seed, one in runs.prepared.items()}
    first = collect(experiment, replace(runs, prepared=prepared), 1.0)
    both = with_confirmed(first, confirmed, 2.0)
    write(both, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    jsonschema.validate(summary, json.loads(SCHEMA.read_text("utf-8")))
    check_out(tmp_path / "out")
    groups = {one["value"]: one for one in summary["attributes"]}
    assert list(groups) == ["new", "old", "rare", "worst group", "gap"]
    assert groups["new"]["test_images"] == (scanner == "new").sum()
    assert groups["rare"]["remark"].startswith("few test images: 1 of a class; no test images of 2 classes")
    assert groups["gap"]["remark"] == "some groups have few test images"
    scores = pd.read_csv(tmp_path / "out" / "attributes.csv", keep_default_na=False)
    seeds = [seed for of in confirmed.classifiers.values() for seed in of]
    means = scores[scores.seed.isin(seeds)].groupby(["arm", "metric", "group"]).value.mean()
    for (metric, value), one in {
        ("macro_recall", "new"): groups["new"],
        ("worst_group_recall", ""): groups["worst group"],
        ("recall_gap", ""): groups["gap"],
    }.items():
        arms = [100 * means[arm, metric, value] for arm in ("classic", "gan")]
        assert [one["without_generator"], one["with_generator"]] == pytest.approx(arms, abs=1e-3)
        assert one["difference"] == pytest.approx(arms[1] - arms[0], abs=1e-3)
        assert one["low"] <= one["difference"] <= one["high"]
    assert set(scores.seed) == {0, 1, 2, *seeds} and not (scores.group == "old").all()
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    titles = ("Other metrics", "Groups of test images", "Experiment")
    places = [text.index(f"<h2>{title}") for title in titles]
    assert places == sorted(places) and "in the first look, whose seeds" not in text
    assert answer_section(first)["groups"]["rows"][0][0] == "scanner"
    assert answer_section(with_confirmed(results, confirmed, 2.0))["groups"] is None


def test_a_second_test_set(stored: tuple[Experiment, Runs], confirmed: Confirmed, tmp_path: Path) -> None:
    """One of the same images and predictions as test has the same figures, in summary.json, tables and the page."""
    experiment, store = stored[0], Store(tmp_path / "store")
    runs, fresh = _with_shift(stored[1], store), _with_shift(confirmed.runs, store)
    first = collect(experiment, runs, 1.0)
    assert first.shift is not None and first.shift.comparison.levels == first.comparison.levels
    both = with_confirmed(first, replace(confirmed, runs=fresh), 2.0)
    write(both, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    jsonschema.validate(summary, json.loads(SCHEMA.read_text("utf-8")))
    shift, outcome = summary["shift"], confirmed.outcome
    for arm, level in shift["arms"].items():
        assert level["mean"] == summary["arms"][arm]["mean"]
    assert [shift["difference"][key] for key in ("difference", "p", "low", "high", "replicates")] == pytest.approx(
        [outcome.difference, outcome.p, outcome.low, outcome.high, 5]
    )
    assert sum(shift["counts"].values()) == len(first.splits["test"])
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert (predictions.split == "shift").sum() == (predictions.split == "test").sum() > 0
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert text.index("<h2>Second test set (shift)") < text.index("<h2>Experiment")
    assert (
        f"{outcome.difference:+.1f} points (95% confidence interval {outcome.low:+.1f} to {outcome.high:+.1f}" in text
    )
    assert answer_section(collect(experiment, stored[1], 1.0))["shift"] is None


def _with_shift(runs: Runs, store: Store) -> Runs:
    """The runs with the test images and their predictions as those of a second test set, too."""
    arms = {}
    for key, run in runs.arms.items():
        assert run.scored is not None
        state = load_state(run.scored.probabilities)
        again = store.put_state("p", {**state, "shift": state["test"]})
        prepared = run.prepared.model_copy(update={"shift": run.prepared.splits.test})
        arms[key] = replace(run, prepared=prepared, scored=run.scored.model_copy(update={"probabilities": again}))
    shifted = {seed: one.model_copy(update={"shift": one.splits.test}) for seed, one in runs.prepared.items()}
    return replace(runs, prepared=shifted, arms=arms)
