"""The out folder and its page, from results made by hand: no training."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from html_tags import Tags
from stored_results import CLASSES, EVIL, recipe_of, with_recipes

from augpipe.classifiers.options import Mix
from augpipe.comparison.bootstrap import Interval
from augpipe.core.images import ImageSet, provenance
from augpipe.core.refs import Ref
from augpipe.core.store import Store, load_images
from augpipe.pipeline import experiment as config
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Recipe
from augpipe.pipeline.runs import Runs
from augpipe.report import page as page_module
from augpipe.report import quality_section
from augpipe.report.collect import collect, confusion
from augpipe.report.contrasts import _series, contrasts
from augpipe.report.figures import cost_dots
from augpipe.report.misread import SHOWN, misread
from augpipe.report.out import FILES
from augpipe.report.page import _page, chosen_by_val, page
from augpipe.report.predictions import write_predictions
from augpipe.report.quality import _curation, quality
from augpipe.report.results import Results
from augpipe.report.strips import BYTES, strips
from augpipe.report.write import write
from augpipe.synthetic import fidelity


@pytest.fixture(scope="module")
def text(results: Results) -> str:
    """The page of the results as they are."""
    return page(results)


def test_the_page_stands_alone_and_escapes_what_users_named(text: str) -> None:
    seen = Tags()
    seen.feed(text)
    assert "script" not in {tag for tag, _ in seen.tags}
    assert EVIL not in text and "&lt;script&gt;" in text
    images = [attrs for tag, attrs in seen.tags if tag == "img"]
    assert len(images) >= 3 + 6
    assert all(str(a["src"]).startswith("data:image/") and a["alt"] for a in images)
    for tag, attrs in seen.tags:
        for key in ("href", "src", "action"):
            assert str(attrs.get(key) or "data:").startswith("data:"), (tag, attrs)
    # The figures' own addresses (namespaces) aside, nothing names a place in a network.
    assert not re.search(r"https?://", re.sub(r"data:[^\"]*", "", text))
    assert "default-src 'none'" in text and len(text) < 8e6


def test_the_page_says_what_it_should(results: Results, text: str) -> None:
    assert results.comparison.sentence.startswith("Synthetic images")
    assert html.escape(results.comparison.sentence).replace("&#x27;", "&#39;") in text
    for arm in ("real", "classic", "gan"):
        assert text.count(arm) > 3
    for heading in (
        "Experiment",
        "Input data",
        "Gain of each arm",
        "Training images of each class",
        "Recall of each class",
        "How many synthetic images",
        "Gain and cost",
        "Confusion matrices",
        "Misread test images",
        "Real and synthetic images",
        "Fidelity",
        "Memorisation",
        "Curation",
        "Gates",
        "Settings",
    ):
        assert heading in text
    assert "too few images" in text  # a metric that was refused


def test_the_page_says_where_val_chose_the_arm_of_the_verdict(results: Results) -> None:
    """Of each kind, and which arm over-samples besides; nothing where there was no choice and no such arm."""
    text = page(results)
    assert "Validation chose classic among 2 arms without a trained generator, by the same" in text
    assert "over-samples" not in text
    assert chosen_by_val(replace(results, arms=tuple(r for r in results.arms if r.arm.name != "classic"))) == ""
    gan = next(result for result in results.arms if result.generative)
    mix = Mix(fill="auto", share=0.1, transform="faces")
    other = replace(gan, arm=gan.arm.model_copy(update={"mix": mix}))
    arms = [other.arm if arm.name == other.arm.name else arm for arm in results.experiment.arms]
    experiment = results.experiment.model_copy(update={"arms": tuple(arms)})
    others = [replace(r, generative=r.arm.name != "real") for r in results.arms]
    text = page(replace(results, experiment=experiment, arms=tuple(others)))
    assert f"Validation chose {results.comparison.best} among {len(others) - 1} arms with a" in text
    assert "An arm that over-samples without synthetic images" in text


def test_a_note_stands_with_the_verdict(results: Results) -> None:
    experiment = results.experiment.model_copy(update={"note": "A first <look>."})
    noted = replace(results, experiment=experiment)
    head = page(noted).partition('class="verdict"')[2][:2000]
    assert "<strong>A first &lt;look&gt;.</strong>" in head
    assert noted.summary()["note"] == "A first <look>." and not results.summary()["note"]
    assert "<strong></strong>" not in page(results)


def test_confusions_are_shares_of_a_class(results: Results) -> None:
    said = [np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])]
    labels = [np.array([0, 0, 1, 2])] * 2
    found = confusion(said, labels, 4)
    assert found[0].tolist() == [0.75, 0.25, 0, 0] and found[1].tolist() == [0, 1, 0, 0]
    assert found[2].tolist() == [0, 0.5, 0.5, 0] and not found[3].any()
    for arm, table in results.confusions.items():
        recall = [results.mean(arm, "recall", name) for name in CLASSES]
        assert np.diag(table).tolist() == pytest.approx(recall)
        assert table.sum(1).tolist() == pytest.approx([1, 1, 1])


def test_contrasts_tell_what_the_figures_show(results: Results) -> None:
    found = contrasts(results)
    level = results.comparison.levels["gan"]
    assert found["ratio"]["rows"] == [
        ("gan", "gan", "0.200", f"{100 * level.mean:.2f}", f"{100 * level.low:.2f} to {100 * level.high:.2f}")
    ]
    assert [row[0] for row in found["cost"]["rows"]] == ["classic", "gan"]
    assert [row[2] for row in found["cost"]["rows"]] == ["–", "2"]
    assert found["confusion"]["lead"] == "gan"
    # Made by hand: what is wrong is taken for the next class.
    pairs = {(a, b) for a, b, *_ in found["confusion"]["rows"]}
    assert pairs == {(CLASSES[c], CLASSES[(c + 1) % 3]) for c in range(3)}


def test_misread_images_of_the_saved_classifier_rare_classes_first(results: Results, tmp_path: Path) -> None:
    saved = next(model for model in results.models if model.file == "classifier.pt")
    write_predictions(results.predictions, tmp_path / "predictions.csv")
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    table = table[(table.arm == saved.name) & (table.seed == saved.seed) & (table.split == "test")]
    wrong = table[table.true != table.predicted]
    section = misread(results)
    assert section is not None and (section["arm"], section["seed"]) == (saved.name, saved.seed)
    assert (section["n"], section["of"]) == (len(wrong), len(table)) and section["n"] > 0
    names = [row["name"] for row in section["classes"]]
    counts = dict(zip(CLASSES, results.splits["train"].counts().values(), strict=True))
    assert names == sorted(set(wrong.true), key=lambda name: counts[name])
    for row in section["classes"]:
        of_class = wrong[wrong.true == row["name"]]
        assert (row["misread"], row["all"]) == (len(of_class), (table.true == row["name"]).sum())
        assert {tile["predicted"] for tile in row["tiles"]} <= set(of_class.predicted)
        surest = sorted(of_class.probability, reverse=True)[:SHOWN]
        assert [tile["probability"] for tile in row["tiles"]] == [f"{p:.2f}" for p in surest]
    empty = misread(results, room=0.0)
    assert empty is not None and empty["classes"] == [] and empty["more"] == len(names)
    assert misread(replace(results, models=())) is None


def test_an_arm_that_is_always_right_is_drawn(results: Results) -> None:
    levels = results.comparison.levels
    perfect = Interval(1.0000000000000002, 1.0, 1.0, 0.0, 1e6)
    comparison = replace(results.comparison, levels={**levels, "gan": perfect})
    assert contrasts(replace(results, comparison=comparison))["ratio"]["rows"][0][3] == "100.00"


def test_without_generators_there_is_no_ratio_to_show(results: Results) -> None:
    arms = tuple(r for r in results.arms if r.arm.generator is None)
    comparison = replace(results.comparison, best=None)
    bare = contrasts(replace(results, arms=arms, generators=(), comparison=comparison))
    assert bare["ratio"] is None and bare["confusion"]["lead"] == "classic"
    same = replace(comparison, strongest="real")
    assert contrasts(replace(results, arms=arms, comparison=same))["confusion"] is None


def test_summary_holds_the_contract(results: Results) -> None:
    found = json.loads(json.dumps(results.summary(), allow_nan=False))
    assert set(found["arms"]) == {"real", "classic", "gan"}
    gan = found["arms"]["gan"]
    assert set(gan["by_seed"]) == {"0", "1", "2"}
    assert gan["gain"]["low"] < gan["gain"]["mean"] < gan["gain"]["high"]
    assert gan["gain"]["mean"] == pytest.approx(gan["mean"] - found["arms"]["real"]["mean"])
    assert gan["synthetic_counts"] == dict(zip(CLASSES, [0, 20, 25], strict=True))
    assert found["arms"]["real"]["gain"] is None and found["baseline"] == "real"
    assert found["best_with_generator"] == "gan" and found["strongest_without_generator"] == "classic"
    assert found["data"]["intake"]["quarantined"] == 1 and found["data"]["intake"]["groups"] == 40
    assert found["data"]["imbalance_ratio"] == 6 and found["versions"]["torch"]


def test_the_folder_holds_exactly_the_contracts_files(results: Results, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    out = tmp_path / "deep" / "out"

    def export(models: Path, folder: Path) -> dict[str, dict[str, str]]:
        folder.mkdir()
        shutil.copy(models / "classifier.pt", folder / "classifier.onnx")
        return {"classifier.pt": {"exported": "exported/classifier.onnx"}}

    for exporter in (export, None):  # and again over itself
        write(results, out, exporter)
        without = {"confirm.csv", "attributes.csv"} | ({"exported"} if exporter is None else set())
        assert {p.name for p in out.iterdir()} == set(FILES) - without
        models = json.loads((out / "summary.json").read_text())["models"]
        assert ("exported" in models["classifier.pt"]) == (exporter is not None)
        pictures = sorted(p.name for p in (out / "samples").iterdir())
        assert sorted(pictures) == ["gan.png", "gan~nearest.png"]
        assert [p.name for p in out.parent.iterdir()] == ["out"]
    back = pd.read_csv(out / "scores.csv", keep_default_na=False)
    assert list(back.columns) == ["arm", "seed", "split", "metric", "class", "value"]
    assert set(back["class"]) == {"", *CLASSES}
    figures = pd.read_csv(out / "fidelity.csv", keep_default_na=False)
    assert list(figures.columns) == ["generator", *fidelity.COLUMNS]
    assert set(figures["class"]) == {"", *CLASSES} and set(figures.generator) == {"gan"}
    left_out = pd.read_csv(out / "quarantine.csv", keep_default_na=False)
    assert left_out["what"].tolist() == ["quarantined", "removed"]
    assert left_out["class"].tolist() == [EVIL, CLASSES[1]]
    assert config.load(out / "experiment.yaml") == results.experiment


def test_names_that_spreadsheets_would_run_are_quoted_and_exact_in_the_summary(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    name = '=HYPERLINK("http://x.invalid")'
    table = results.quarantine.assign(id=[name, "@SUM(A1).png"])
    write(replace(results, quarantine=table), tmp_path / "out")
    written = pd.read_csv(tmp_path / "out" / "quarantine.csv", keep_default_na=False)
    assert written["id"].tolist() == [f"'{name}", "'@SUM(A1).png"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["escaped"]["quarantine.csv"] == {f"'{name}": name, "'@SUM(A1).png": "@SUM(A1).png"}


@pytest.mark.parametrize(("fraction", "warned"), [(0.004, False), (0.031, True)])
def test_near_copies_of_test_are_named_before_the_first_figure(results: Results, fraction: float, warned: bool) -> None:
    intake = results.intake.model_copy(update={"near_copies": fraction})
    head = page(replace(results, intake=intake)).partition("<h2>Experiment</h2>")[0]
    assert ("3.1% of the test images are nearly equal to one in train or val" in head) is warned


def test_figures_are_means_over_seeds_and_missing_ones_say_why(results: Results) -> None:
    table = results.quality.fidelity.set_index(["class", "metric"])
    assert table.loc[("", "kid"), "value"] == pytest.approx(0.5)
    assert np.isnan(table.loc[(EVIL, "kid"), "value"])
    assert table.loc[(EVIL, "kid"), "note"] == f"too few images of {EVIL}"
    # One seed of three could not give it: no mean over the others passes for it.
    assert np.isnan(table.loc[("", "fid"), "value"])
    assert table.loc[("", "fid"), "note"] == "too few images of all"
    # Kept by the checks over three seeds: 24 of 30, then 0, 2 and 4 of 8.
    assert table.loc[(EVIL, "kept.blank"), "value"] == pytest.approx(0.8)
    assert table.loc[("", "kept.realism"), "value"] == pytest.approx(6 / 24)
    assert table.loc[("", "kept"), "value"] == pytest.approx(6 / 30)
    assert table.loc[("", "kept"), "n_synthetic"] == 90
    assert results.quality.curation.seen.sum() == 3 * 3 * 18


def test_a_gate_must_hold_for_every_seed(results: Results, text: str) -> None:
    """A mean of p-values is no p-value: .07 would hold, and the third seed's .002 does not."""
    of = {one.gate: one for one in results.quality.gates["gan"]}
    assert list(of) == list(results.experiment.gate)
    assert not of["memorisation.p > 0.01"].holds and of["memorisation.p > 0.01"].detail == "0.002"
    assert of["each agreement > 0.5"].holds
    told = results.summary()["generators"]["gan"]["gates"]
    assert told["memorisation.p > 0.01"] == {"holds": False, "detail": "0.002"}
    assert "does not hold" in text and "memorisation.p &gt; 0.01" in text


def test_what_checks_left_missing_is_told(results: Results, text: str) -> None:
    summary = results.summary()
    assert summary["arms"]["gan"]["short"] == {EVIL: 4}
    assert summary["arms"]["gan"]["curated"] is True
    assert summary["arms"]["real"]["short"] == {} and summary["arms"]["real"]["curated"] is False
    assert "missing 4 of &lt;script&gt;" in text


def test_what_another_seed_than_the_first_is_missing_is_told_too(stored: tuple[Experiment, Runs]) -> None:
    experiment, runs = stored

    def whole(key: tuple[str, int], recipe: Recipe) -> Recipe:
        return recipe.model_copy(update={"short": {}}) if key == ("gan", 0) else recipe

    later = collect(experiment, with_recipes(runs, whole), 12.0)
    assert EVIL in later.summary()["arms"]["gan"]["short"]
    assert "too few images passed" in page(later)


def test_counts_and_shares_of_an_arm_are_the_mean_over_seeds(stored: tuple[Experiment, Runs]) -> None:
    experiment, found = stored
    first = found.arms["gan", 0].recipe
    more = tuple(n + 3 * len(experiment.seeds) for n in first.synthetic_count)
    changed = {"synthetic_count": more, "synthetic_share": 1.0}

    def other(key: tuple[str, int], recipe: Recipe) -> Recipe:
        return recipe.model_copy(update=changed) if key == ("gan", 0) else recipe

    later = collect(experiment, with_recipes(found, other), 12.0)
    before = collect(experiment, found, 12.0).summary()["arms"]["gan"]
    told = later.summary()["arms"]["gan"]
    assert list(told["synthetic_counts"].values()) == [n + 3 for n in before["synthetic_counts"].values()]
    seeds = len(experiment.seeds)
    assert told["share"] == pytest.approx(before["share"] + (1 - first.synthetic_share) / seeds)


def test_without_generators_there_is_nothing_to_judge(results: Results, text: str) -> None:
    found = quality(results.experiment, [], {}, _no_recipes(results))
    assert len(found.fidelity) == 0 and found.gates == {} and found.galleries == {}
    bare = page(replace(results, quality=found, generators=()))
    for heading in ("Fidelity", "Memorisation", "Curation", "Gates"):
        assert f"<h2>{heading}</h2>" in text and f"<h2>{heading}</h2>" not in bare


def test_without_checks_there_is_no_section_on_them(results: Results) -> None:
    found = results.quality
    none = found.fidelity[~found.fidelity.metric.str.startswith("kept")]
    empty = replace(found, fidelity=none, curation=found.curation[:0])
    assert "<h2>Curation</h2>" not in page(replace(results, quality=empty))


def test_images_that_two_arms_share_were_checked_once(results: Results) -> None:
    gan = next(arm for arm in results.experiment.arms if arm.name == "gan")
    twice = results.experiment.model_copy(
        update={"arms": (*results.experiment.arms, gan.model_copy(update={"name": "again"}))}
    )
    recipes = _no_recipes(replace(results, experiment=twice))
    for seed in twice.seeds:
        for name in ("gan", "again"):
            # A part of them, or weighted.
            own = Ref(path=Path("synthetic"), sha256=f"{seed} of {name}")
            recipes[name, seed] = recipe_of("gan", seed).model_copy(update={"synthetic": own})
    assert _curation(twice, recipes).seen.sum() == 3 * 3 * 18
    for seed in twice.seeds:  # of another plan
        other = recipes["again", seed].model_copy(update={"drawn": f"{seed} b"})
        recipes["again", seed] = other
    assert _curation(twice, recipes).seen.sum() == 2 * 3 * 3 * 18


def _no_recipes(results: Results) -> dict[tuple[str, int], Recipe]:
    """Of real images alone."""
    experiment = results.experiment
    return {(arm.name, seed): recipe_of("real", seed) for arm in experiment.arms for seed in experiment.seeds}


def test_no_two_generators_pictures_have_one_name(results: Results, tmp_path: Path, monkeypatch) -> None:
    """A generator may be called as the other one's picture of nearest images is."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    gan = results.generators[0]
    both = (gan, replace(gan, name="gan-nearest"))
    galleries = {g.name: results.quality.galleries["gan"] for g in both}
    gates = {g.name: results.quality.gates["gan"] for g in both}
    found = replace(results.quality, galleries=galleries, gates=gates)
    write(replace(results, generators=both, quality=found), tmp_path / "out")
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4


def test_provenance_columns() -> None:
    columns = ["id", "group", "origin", "parent", "source", "weight"]
    assert list(provenance(["a"]).columns) == columns


def test_seconds_are_written_as_numbers(results: Results) -> None:
    """Formulas are not parsed in figures: a class may be called $x$, and a logarithmic axis labels itself with them."""
    costs = results.comparison.over_baseline["gan"]
    figure = base64.b64decode(cost_dots(["gan"], [120.0], [costs], [True]).split(",")[1]).decode()
    assert "mathdefault" not in figure and "<!-- 100 -->" in figure


def test_what_val_chose_is_told(stored: tuple[Experiment, Runs]) -> None:
    experiment, found = stored
    told = {("gan", 0): {"share": {EVIL: 0.1}, "part": 0.5, "steps": 70}}
    runs = with_recipes(found, lambda key, recipe: recipe.model_copy(update={"chosen": told.get(key)}))
    arms = [
        arm.model_copy(update={"mix": arm.mix.model_copy(update={"share": "per_class"})}) if arm.name == "gan" else arm
        for arm in experiment.arms
    ]
    experiment = experiment.model_copy(update={"arms": tuple(arms)})
    results = collect(experiment, runs, 1.0)
    arm = results.summary()["arms"]["gan"]
    assert arm["chosen"] == {"0": told["gan", 0]}
    assert arm["best_step"] == {str(seed): 40 + seed for seed in experiment.seeds}
    text = page(results)
    # How many images was not left to val here, so that no part of them is told.
    assert "per class" in text and ">70<" in text and ">0.50<" not in text
    assert ", ".join(str(40 + seed) for seed in experiment.seeds) in text


@pytest.mark.parametrize("left", [{"synthetic_share": 0.0}, {"made_by": {}}, {"made_by": {"smote": 40}}])
def test_an_arm_that_shows_no_image_of_a_trained_generator_is_credited_with_none(
    stored: tuple[Experiment, Runs], left: dict[str, Any]
) -> None:
    """Checks turned all of its images away, or left those of SMOTE alone: whatever it gained, no generator did."""
    experiment, found = stored
    runs = with_recipes(found, lambda key, recipe: recipe.model_copy(update=left))
    results = collect(experiment, runs, 1.0)
    assert not any(result.generative for result in results.arms)
    assert results.comparison.best is None
    assert results.comparison.sentence.startswith("No arm shows images of a trained generator")


def test_however_many_and_large_the_pictures_the_page_stays_below_8_mb(results: Results) -> None:
    """Noise is what packs worst: 40 classes, five generators, colour images of 128 px."""
    rng = np.random.default_rng(0)
    names = tuple(f"class {k}" for k in range(40))
    labels = np.repeat(np.arange(40), 9).astype(np.int64)
    noise = rng.integers(0, 256, (360, 3, 128, 128), dtype=np.uint8)
    many = ImageSet(noise, labels, names, provenance([f"i{k}" for k in range(360)]))
    small = replace(results, splits={**results.splits, "train": many})
    generators = tuple(replace(results.generators[0], name=f"g{k}", samples=many) for k in range(5))
    shown, left_out = strips(replace(small, generators=generators))
    assert 0 < len(shown) < 40 and left_out == 40 - len(shown)
    assert sum(len(strip) for row in shown for _, strip in row["strips"]) <= BYTES
    galleries = {f"g{k}": many for k in range(5)}
    own = quality_section._galleries(replace(results.quality, galleries=galleries), 1.0)
    fits = [name for name, strips_ in own if strips_]
    assert 0 < len(fits) < 5 and len(own) == 5
    three = ImageSet(noise, labels % 3, CLASSES, many.table)
    wide = replace(
        results,
        splits={**results.splits, "train": three},
        quality=replace(results.quality, galleries=galleries),
        generators=tuple(replace(g, samples=three) for g in generators),
    )
    large = _page(wide, 1.0)
    assert len(large) < 8e6 and len(_page(wide, 0.2)) < len(large) / 2
    assert "Not shown to limit the page size" in large


def test_a_page_that_would_be_too_large_has_fewer_pictures(results: Results, text: str, monkeypatch) -> None:
    monkeypatch.setattr(page_module, "LARGEST", len(text) - 1)
    assert len(page(results)) < len(text)


@pytest.mark.parametrize("left", [("real", "classic", "gan"), ("real", "gan")])
def test_effect_sizes_are_told_of_each_arm_against_each_reference_once(
    stored: tuple[Experiment, Runs], left: tuple[str, ...]
) -> None:
    """Where the baseline is also the strongest arm without a generator there is but one reference."""
    experiment, kept = stored
    arms = tuple(arm for arm in experiment.arms if arm.name in left)
    own = collect(experiment.model_copy(update={"arms": arms}), kept, 1.0)
    text = page(own)
    table = text[text.index("Effect sizes") : text.index("Values chosen by validation")]
    told = re.findall(r'<tr><td class="name">(.*?)</td><td class="text">(.*?)</td>', table)
    references = list(dict.fromkeys((own.comparison.baseline, own.comparison.strongest)))
    assert told == [(a, r) for a in left for r in references if a != r]
    assert ("classic", "real") in told or len(left) == 2


def test_a_line_of_the_ratio_curve_joins_what_differs_in_amount_alone() -> None:
    def arm(**mix: Any) -> Arm:
        return Arm(name="a", generator="gan", mix=Mix(**mix))

    plain = _series(arm(fill=100, share=0.1))
    assert plain == _series(arm(fill="auto", share=0.4)) == "gan"
    assert _series(arm(share=0.1, transform="light", sampler="balanced")) == "gan, sampler balanced, transform light"
    near, far = ({"check": "agreement", "power": p} for p in (1, -1))
    assert len({plain, _series(arm(prefer=near)), _series(arm(prefer=far))}) == 3
    assert _series(arm(loss={"kind": "focal"})) != _series(arm(loss={"kind": "ldam"}))


@pytest.mark.parametrize("mix", [{"share": 0.3, "synthetic_weight": 0}, {"share": 0, "beside": {"weight": 0}}])
def test_images_without_a_say_are_refused(mix: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Mix(**mix)


def test_groups_of_test_images_reach_the_comparison(stored: tuple[Experiment, Runs]) -> None:
    """Sixty test images of six patients: the same hits, a wider interval; of four in a class too few to say."""
    experiment, kept = stored
    alone = collect(experiment, kept, 1.0).comparison.over_baseline["gan"]

    def over(patients: int) -> Any:
        prepared = kept.prepared[experiment.seeds[0]]
        test = load_images(prepared.splits.test)
        table = test.table.assign(
            group=[f"p{k % (20 // patients)}-{c}" for k, c in zip(range(60), test.labels, strict=True)]
        )
        store = Store(Path(prepared.splits.test.path).parents[1])
        ref = store.put_images(ImageSet(test.images, test.labels, test.classes, table))
        splits = prepared.splits.model_copy(update={"test": ref})
        own = prepared.model_copy(update={"splits": splits})
        runs = replace(kept, prepared=dict.fromkeys(experiment.seeds, own))
        return collect(experiment, runs, 1.0).comparison.over_baseline["gan"]

    pairs, fives = over(2), over(5)
    assert pairs.interval.mean == alone.interval.mean and pairs.verdict == "better"
    assert pairs.interval.error != pytest.approx(alone.interval.error, rel=1e-3)
    assert fives.verdict == "too few test images to say"
