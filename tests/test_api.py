"""The public face: what a notebook uses, against what the command does."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import CONFIG

import augpipe
from augpipe.classifiers.options import ClassifierOptions
from augpipe.core.images import ImageSet


def test_every_exported_name_is_there_and_importing_costs_nothing() -> None:
    for name in augpipe.__all__:
        assert getattr(augpipe, name).__doc__
    code = "import sys, augpipe; print(sorted({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = augpipe.nothing


def test_a_run_in_this_process_reuses_what_it_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    values = yaml.safe_load(CONFIG)
    values["arms"] = [arm for arm in values["arms"] if arm["name"] in ("real", "smote")]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    overrides = ["seeds=1", "classifier.steps=10", "generators={smote: {kind: smote}}"]
    results = augpipe.run(tmp_path / "tiny.yaml", tmp_path / "out", overrides=overrides)
    assert [result.arm.name for result in results.arms] == ["real", "smote"]
    names = {"report.html", "scores.csv", "fidelity.csv", "summary.json", "experiment.yaml"}
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    records = {p: p.read_bytes() for p in (tmp_path / "home" / "store" / "records").iterdir()}
    again = augpipe.compare(augpipe.load(tmp_path / "tiny.yaml", overrides))
    assert again.scores.equals(results.scores)
    assert {p: p.read_bytes() for p in (tmp_path / "home" / "store" / "records").iterdir()} == records


def test_fit_and_synthesize(make_shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    # The reference classifier, with 600 steps by default, is most of the time.
    monkeypatch.setattr("augpipe.api.ClassifierOptions", partial(ClassifierOptions, steps=20, width=0.25))
    train, val = make_shapes((20, 12, 6)), make_shapes((6, 6, 6), seed=1)
    config = {"kind": "cgan", "width": 4, "latent": 8, "batch": 8, "kimg": 0.1, "ticks": 2}
    fitted = augpipe.fit(train, config, val=val, runtime=("cpu", "32-true"), threads=1)
    assert np.isfinite(fitted.best_metric) and 0 < fitted.best_kimg <= 0.2
    images = augpipe.synthesize(fitted)
    assert images.counts() == {0: 0, 1: 8, 2: 14}
    assert images.images.dtype == np.uint8 and images.spec == train.spec
    assert set(images.table["origin"]) == {"synthetic"}
    with pytest.raises(augpipe.UserError, match="fill 'search' is chosen on val by a run"):
        augpipe.synthesize(fitted, "search")
    same = augpipe.synthesize(fitted)
    assert np.array_equal(same.images, images.images)
    assert augpipe.synthesize(fitted, {"c0": 3}, seed=1).counts()[0] == 3


def test_without_val_the_last_checkpoint_is_kept(make_shapes) -> None:
    config = {"kind": "cgan", "width": 4, "latent": 8, "batch": 8, "kimg": 0.1, "ticks": 3}
    fitted = augpipe.fit(make_shapes((20, 12)), config, runtime=("cpu", "32-true"), threads=1)
    assert fitted.best_kimg >= 0.1 and np.isnan(fitted.best_metric)


def test_a_mistake_names_the_choices(make_shapes) -> None:
    with pytest.raises(augpipe.UserError, match="unknown generator 'gan'"):
        augpipe.fit(make_shapes((4, 4)), {"kind": "gan"})
    external = {"kind": "images", "source": {"kind": "bundled", "name": "digits"}}
    with pytest.raises(augpipe.UserError, match="images reads its images from a source, which a run compares"):
        augpipe.fit(make_shapes((4, 4)), external)
    with pytest.raises(augpipe.UserError, match="pretrain is done by a run and by `augpipe train`"):
        augpipe.fit(make_shapes((4, 4)), {"kind": "cgan", "per_class": True, "pretrain": 1})


def test_a_val_that_cannot_select_is_refused_before_the_training(make_shapes) -> None:
    train = make_shapes((4, 4))
    fit = partial(augpipe.fit, train, {"kind": "cgan"})
    swapped = ImageSet(train.images, train.labels, train.classes[::-1], train.table)
    small = ImageSet(train.images[:, :, :8, :8], train.labels, train.classes, train.table)
    for val, message in (
        (swapped, "in their order, c0, c1; got c1, c0"),
        (small, r"train's shape .*; got \(.*, 8, 8\)"),
        (train.take(np.arange(3)), "3 images of val are also in train"),
        (train.take(np.arange(0)), "val has no images"),
    ):
        with pytest.raises(augpipe.UserError, match=message):
            fit(val=val)
    for option, message in (
        ({"seed": -1}, "a seed must be a whole number of 0 or more; got -1"),
        ({"seed": 1.5}, "a seed must be a whole number of 0 or more; got 1.5"),
        ({"threads": 0}, "threads must be a whole number of 1 or more; got 0"),
    ):
        with pytest.raises(augpipe.UserError, match=message):
            fit(**option)


def test_a_train_that_no_generator_learns_from_is_refused(make_shapes) -> None:
    train = make_shapes((4, 4))
    pixels, labels, classes = train.images, train.labels, train.classes
    again = train.table.assign(id="x")
    last = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    for images, message in (
        (train.take(np.arange(0)), "train has no images"),
        (ImageSet(last, labels, classes, train.table), r"got \(8, 16, 16, 1.*transpose\(0, 3, 1, 2\)"),
        (ImageSet(pixels, labels, ("a", "a"), train.table), "train has two classes 'a'"),
        (ImageSet(pixels, labels, classes, again), "7 images with the id of another"),
    ):
        with pytest.raises(augpipe.UserError, match=message):
            augpipe.fit(images, {"kind": "smote"})


def test_a_fill_without_an_image_or_of_an_unseen_class_is_refused(make_shapes) -> None:
    train = make_shapes((4, 3))
    three = ImageSet(train.images, train.labels, (*train.classes, "c2"), train.table)
    fitted = augpipe.fit(three, {"kind": "smote"}, runtime=("cpu", "32-true"), threads=1)
    assert augpipe.synthesize(fitted, {"c1": np.int64(2)}, seed=np.int64(1)).counts()[1] == 2
    for fill, message in (
        (0, "fill 0 asks for no image; train has 4 of 'c0', 3 of 'c1', 0 of 'c2'"),
        ("auto", "class 'c2' has no training image"),
    ):
        with pytest.raises(augpipe.UserError, match=message):
            augpipe.synthesize(fitted, fill)
    with pytest.raises(augpipe.UserError, match="a seed must be a whole number"):
        augpipe.synthesize(fitted, 1, seed=0.5)


def test_nothing_is_written_below_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_shapes, make_folder
) -> None:
    pictures = make_folder(tmp_path / "pictures", make_shapes((30, 30)))
    before = set(pictures.rglob("*"))
    monkeypatch.setenv("AUGPIPE_HOME", str(pictures / "home"))
    experiment = augpipe.load(pictures)
    with pytest.raises(augpipe.UserError, match="an Experiment has its own settings; got budget='10m'"):
        augpipe.run(experiment, budget="10m")
    with pytest.raises(augpipe.UserError, match=r"AUGPIPE_HOME .* lies in the image folder"):
        augpipe.run(experiment, tmp_path / "out")
    with pytest.raises(augpipe.UserError, match=r"AUGPIPE_HOME .* lies in the image folder"):
        augpipe.compare(experiment)
    assert set(pictures.rglob("*")) == before and not (tmp_path / "out").exists()


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").touch()
    with pytest.raises(augpipe.UserError, match=r"no config, .*digit.yaml'.* mean .*digits.yaml"):
        augpipe.load(tmp_path / "digit.yaml")
