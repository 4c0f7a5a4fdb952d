"""Stages by hand, without an orchestrator: what a notebook would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jobs import make_work

from augpipe.classifiers import train
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.options import Beside
from augpipe.core.checkpoint import Clocked
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet, provenance
from augpipe.core.store import load_images, load_splits, load_state, load_table
from augpipe.pipeline import experiment as config
from augpipe.pipeline.records import Prepared

SPLIT = {"train": np.r_[:6, 12:18], "val": np.r_[6:9, 18:21], "test": np.r_[9:12, 21:24]}


def test_only_train_is_thinned_and_nothing_stands_twice(tmp_path: Path) -> None:
    prepared = make_work(tmp_path).prepare()
    splits = load_splits(prepared.splits)
    assert splits.train.counts()[0] > 100 and splits.train.counts()[9] == 14
    assert splits.test.counts()[9] == 18 and splits.val.counts()[9] == 18
    ids = [set(s.table["id"]) for s in (splits.train, splits.val, splits.test)]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    work = make_work(tmp_path)
    assert work.plan(prepared, "real") == {} and work.plan(prepared, "smote")[9] > 100
    assert prepared.counts["train"] == splits.train.counts()
    with pytest.raises(
        UserError, match=r"mix.fill of arm 'acgan' is 0\.05, so its generator draws no images: .* the smallest 14"
    ):
        make_work(tmp_path, "arms.acgan.mix.fill=0.05").prepare()
    again = make_work(tmp_path).prepare()
    assert again.fingerprint == prepared.fingerprint and again.splits == prepared.splits
    other = make_work(tmp_path, "split.seed=1").prepare()
    assert other.fingerprint != prepared.fingerprint


def test_each_seed_draws_a_split_of_its_own_where_asked(tmp_path: Path) -> None:
    work = make_work(tmp_path, "resplit=true")
    one, other, again = (work.prepare(seed) for seed in (0, 1, 0))
    assert one.splits == again.splits and one.intake.fingerprint == other.intake.fingerprint
    assert one.counts == other.counts  # thinned alike, of other images
    tests = [set(load_images(p.splits.test).table["id"]) for p in (one, other)]
    assert 0 < len(tests[0] & tests[1]) < len(tests[0])
    trains = [set(load_images(p.splits.train).table["id"]) for p in (one, other)]
    assert not trains[0] & tests[0] and not trains[1] & tests[1] and trains[0] & tests[1]


def test_a_sources_own_split_is_but_one(tmp_path: Path, make_shapes) -> None:
    images = make_shapes((12, 12))
    np.savez(
        tmp_path / "x.npz",
        **{f"{s}_images": images.images[rows, 0] for s, rows in SPLIT.items()},
        **{f"{s}_labels": images.labels[rows] for s, rows in SPLIT.items()},
    )
    values = {
        "name": "x",
        "source": {"kind": "arrays", "path": str(tmp_path / "x.npz")},
        "resplit": True,
        "arms": [{"name": "real"}],
        "baseline": "real",
    }
    work = make_work(tmp_path).but(config.build(values))
    with pytest.raises(
        UserError, match=r"the source has an official one: set split\.kind to stratified, grouped or k_fold"
    ):
        work.prepare(0)
    free = config.build({**values, "split": {"kind": "stratified"}})
    assert work.but(free).prepare(0).classes
    with pytest.raises(UserError, match=r"resplit draws a split for each seed, but split\.kind official"):
        config.build({**values, "split": {"kind": "official"}})


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("imbalance.classes=[7, eight]", "unknown class 'eight'"),
        ("image.size=36", "image size 36 is not 4, 5, 6 or 7 doubled"),
        ("arms.acgan.mix.fill={ten: 5}", "unknown class 'ten'"),
        ("arms.acgan.mix.share={ten: 0.1}", "unknown class 'ten'"),
        ("imbalance={profile: counts, counts: {3: 5000}}", "fewer than the 5000 requested"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_work(tmp_path, override).prepare()


def test_an_arm_from_end_to_end(tmp_path: Path) -> None:
    work = make_work(tmp_path)
    prepared = work.prepare()
    reference = work.reference(prepared)
    trained = work.generator(prepared, reference, "acgan")
    assert [kimg for kimg, _ in trained.previews] == [0.5, 1.0]
    history = load_table(trained.history)
    assert set(history.metric) == {
        "loss_d",
        "loss_g",
        "class_accuracy_real",
        "val_kid",
        "images_per_second",
        "diversity",
    }
    kids = history[history.metric == "val_kid"]
    assert trained.best_metric == kids.value.min()
    assert trained.best_kimg == kids.kimg[kids.value.idxmin()]

    arm = work.arm("acgan")
    plan = work.plan(prepared, "acgan")
    made = work.synthetic(prepared, reference, trained, plan, work.experiment.curates(arm))
    counts = load_images(made.images).counts()
    assert {c: n - counts[c] for c, n in plan.items() if n > counts[c]} == made.short
    assert sum(counts[c] for c in plan) == sum(counts.values())
    recipe = work.recipe(prepared, arm, made)
    assert recipe.synthetic_share == pytest.approx(np.dot(recipe.class_probability, recipe.class_share))
    assert recipe.synthetic_count == tuple(counts.values())
    assert recipe.synthetic_ratio == pytest.approx(sum(counts.values()) / sum(prepared.counts["train"].values()))
    assert recipe.short == {str(label): n for label, n in made.short.items()}  # digits' own names
    assert {line["check"] for line in recipe.funnel} <= set(work.experiment.curation.checks)
    assert all(line["seen"] >= line["passed"] >= 0 for line in recipe.funnel) and recipe.funnel
    classifier = work.classifier(prepared, recipe, "acgan")
    scored = work.score(prepared, classifier, recipe)
    table = load_table(scored.table)
    assert set(table.split) == {"val", "test"} and len(table) == 2 * (17 + 10)
    measured = work.measured(prepared, reference, trained)
    assert {"agreement", "kid", "fid"} <= set(load_table(measured.table).metric)

    # Soft labels are the reference classifier's probabilities for the very images, and synthetic images are used at
    # test where asked.
    own = arm.mix.model_copy(update={"soft": 0.5, "beside": Beside(k=2, weight=0.5)})
    soft = arm.model_copy(update={"mix": own})
    with pytest.raises(ValueError, match="need the reference classifier"):
        work.recipe(prepared, soft, made)
    recipe = work.recipe(prepared, soft, made, reference=reference)
    assert recipe.soft_labels is not None
    said = load_state(recipe.soft_labels)["probabilities"]
    judge = trained_classifier.from_state(load_state(reference), work.runtime)
    wanted = trained_classifier.predict(judge, load_images(made.images), work.runtime)
    assert said.numpy() == pytest.approx(wanted)
    classifier = work.classifier(prepared, recipe, "acgan")
    beside = work.score(prepared, classifier, recipe)
    plain = work.score(prepared, classifier, work.recipe(prepared, arm, made))
    assert beside.probabilities.sha256 != plain.probabilities.sha256


def test_an_arm_without_a_generator_has_nothing_missing(tmp_path: Path) -> None:
    work = make_work(tmp_path)
    prepared = work.prepare()
    recipe = work.recipe(prepared, work.experiment.arms[0])
    assert recipe.short == {} and recipe.funnel == () and recipe.synthetic is None


def test_test_images_change_nothing_that_is_chosen(tmp_path: Path) -> None:
    """Decision D: with another test set, every chosen thing stays the same to the byte."""
    work = make_work(tmp_path)
    prepared = work.prepare()
    test = load_images(prepared.splits.test)
    strangers = ImageSet(
        255 - test.images,
        np.array(test.labels)[::-1].copy(),
        test.classes,
        provenance([f"stranger {i}" for i in range(len(test))]),
    )
    ref = work.store.put_images(strangers)
    other = prepared.splits.model_copy(update={"test": ref})
    swapped: Prepared = prepared.model_copy(update={"splits": other})
    found = []
    for data in (prepared, swapped):
        reference = work.reference(data)
        trained = work.generator(data, reference, "acgan")
        recipe = work.recipe(data, work.experiment.arms[0])
        classifier = work.classifier(data, recipe, "real")
        arm = work.arm("acgan")
        searching = arm.model_copy(update={"mix": arm.mix.model_copy(update={"share": "auto"})})
        made = work.synthetic(data, reference, trained, {9: 30}, False)
        chosen = work.choice(data, searching, made, reference)
        found.append(
            (
                reference.sha256,
                trained.checkpoint.sha256,
                trained.best_metric,
                classifier.state.sha256,
                chosen.share,
                chosen.table.sha256,
            )
        )
    assert found[0] == found[1]


def test_the_pixels_of_all_splits_are_stored_once(tmp_path: Path) -> None:
    """Not of the images that no split shows, and in no split's own folder."""
    work = make_work(tmp_path)
    prepared = work.prepare()
    n = sum(sum(of.values()) for of in prepared.counts.values())
    (array,) = (work.context.root / "images").glob("*/images.npy")
    assert array.parent == prepared.data.path and len(np.load(array)) == n
    ids = [
        name for side in ("train", "val", "test") for name in load_images(getattr(prepared.splits, side)).table["id"]
    ]
    assert ids == load_images(prepared.data).table["id"].tolist() and len(set(ids)) == n


class KilledError(Exception):
    """The process ends here."""


def test_classifiers_go_on_where_they_were_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved after each step, killed at the second evaluation of three; the third alone is done again."""
    short = "classifier.steps=9"
    work, whole = make_work(tmp_path / "killed", short), make_work(tmp_path / "whole", short)
    prepared, again = work.prepare(), whole.prepare()
    monkeypatch.setattr(Clocked, "INTERVAL", 0.0)
    monkeypatch.setattr(Clocked, "SHARE", 0.0)
    evaluated, evaluate = [], train._Training.evaluate

    def counted(training, step, *arguments):
        evaluated.append(step)
        if len(evaluated) == 3:
            raise KilledError
        return evaluate(training, step, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train._Training, "evaluate", counted)
        with pytest.raises(KilledError):
            work.reference(prepared)
        (checkpoint,) = (work.store.root / "training").iterdir()
        first, evaluated[:] = len(evaluated), [0, 0, 0]
        reference = work.reference(prepared)
        assert first == 3 and len(evaluated) - 3 == 1  # only the last evaluation was left
        assert not checkpoint.exists()
    assert reference.sha256 == whole.reference(again).sha256
    recipes = work.recipe(prepared, work.arm("real")), whole.recipe(again, whole.arm("real"))
    evaluated.clear()
    with monkeypatch.context() as patch:
        patch.setattr(train._Training, "evaluate", counted)
        with pytest.raises(KilledError):
            work.classifier(prepared, recipes[0], "real")
    trained = work.classifier(prepared, recipes[0], "real")
    undisturbed = whole.classifier(again, recipes[1], "real")
    assert trained.state.sha256 == undisturbed.state.sha256
    assert trained.history.sha256 == undisturbed.history.sha256
