"""A held-out image that is planted into what a training learns from ends the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from in_process import call
from jobs import Work, make_work
from tiny import CONFIG, served

from augpipe.core.images import SYNTHETIC, ImageSet, provenance
from augpipe.core.refs import Ref
from augpipe.core.store import load_images
from augpipe.data import clean, leaks
from augpipe.data.leaks import LeakError
from augpipe.pipeline import choose_transform
from augpipe.pipeline.records import Prepared


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, Prepared, Ref]:
    work = make_work(tmp_path_factory.mktemp("leaks"), "arms.smote.mix.share=0.5")
    prepared = work.prepare()
    return work, prepared, work.reference(prepared)


def planted(work: Work, prepared: Prepared, side: str, name: str | None = None) -> Prepared:
    """Train with one image of a held-out side among it, under its own id or another."""
    train, other = (load_images(getattr(prepared.splits, s)) for s in ("train", side))
    row = other.table.iloc[[3]].assign(**({"id": name} if name else {}))
    images = ImageSet(
        np.concatenate([train.images, other.images[3:4]]),
        np.concatenate([train.labels, other.labels[3:4]]),
        train.classes,
        pd.concat([train.table, row], ignore_index=True),
    )
    splits = prepared.splits.model_copy(update={"train": work.store.put_images(images)})
    return prepared.model_copy(update={"splits": splits})


@pytest.mark.parametrize("side", ["val", "test"])
def test_a_generator_is_not_trained_on_a_planted_image(run, side: str) -> None:
    work, prepared, reference = run
    name = load_images(getattr(prepared.splits, side)).table["id"][3]
    bad = planted(work, prepared, side)
    with pytest.raises(LeakError, match=f"training data of generator 'acgan' contains '{name}', an image of {side}"):
        work.generator(bad, reference, "acgan")
    with pytest.raises(LeakError, match="the reference classifier"):
        work.reference(bad)


def test_an_image_under_another_name_is_none_of_the_runs(run) -> None:
    work, prepared, reference = run
    bad = planted(work, prepared, "test", "innocent")
    with pytest.raises(LeakError, match="contains 'innocent', which is not an image of the run"):
        work.generator(bad, reference, "smote")


def test_an_image_under_a_train_images_name_is_seen(run) -> None:
    work, prepared, reference = run
    train, test = load_images(prepared.splits.train), load_images(prepared.splits.test)
    pixels = np.array(train.images)
    pixels[5] = test.images[0]
    forged = ImageSet(pixels, train.labels, train.classes, train.table)
    ref = work.store.put_images(forged)
    bad = prepared.model_copy(update={"splits": prepared.splits.model_copy(update={"train": ref})})
    name = train.table["id"][5]
    with pytest.raises(LeakError, match=f"'{name}', which differs from the image of that name"):
        work.generator(bad, reference, "acgan")


def test_transforms_are_tried_on_no_planted_image(run, monkeypatch: pytest.MonkeyPatch) -> None:
    work, prepared, _ = run
    bad = planted(work, prepared, "val")
    monkeypatch.setattr(choose_transform, "prepare", lambda context, experiment: bad)
    with pytest.raises(LeakError, match=r"training data of a classifier that tries transforms contains .* of val"):
        choose_transform.choose_transform(work.experiment, policies=False)


def test_gan_train_sees_no_copy_of_a_val_image(run) -> None:
    work, prepared, reference = run
    val = load_images(prepared.splits.val)
    with pytest.raises(
        LeakError, match=f"classifier of GAN-train .*'s0', which equals '{val.table['id'][3]}'.* of val"
    ):
        work.measured_set(prepared, reference, synthetic(val.take(np.array([3]))))


def test_images_made_from_a_test_image_reach_no_classifier(run) -> None:
    """SMOTE is given a test image behind the guard's back; what it makes of it is turned away further on."""
    work, prepared, reference = run
    bad = planted(work, prepared, "test")
    trained = work.generator(prepared, reference, "smote")
    row = load_images(bad.splits.train)
    label = int(row.labels[-1])
    arm = work.arm("smote")
    made = work.synthetic(prepared, reference, trained, {label: 40}, False)
    honest = load_images(made.images)
    table = honest.table.copy()
    table.loc[7, "parent"] = str(row.table["id"].iloc[-1])
    ref = work.store.put_images(ImageSet(honest.images, honest.labels, honest.classes, table))
    recipe = work.recipe(prepared, arm, made.model_copy(update={"images": ref}))
    assert recipe.synthetic == ref
    with pytest.raises(LeakError, match="the classifier of arm 'smote' contains images derived from"):
        work.classifier(prepared, recipe, "smote")


def synthetic(images: ImageSet, **columns: Any) -> ImageSet:
    """The same pixels as synthetic images."""
    table = provenance([f"s{i}" for i in range(len(images))], origin=SYNTHETIC)
    return ImageSet(images.images, images.labels, images.classes, table.assign(**columns))


def test_equal_pixels_under_two_ids_are_no_leak(make_shapes) -> None:
    """Two scans that became equal as they were made smaller; also where a generator copies the one in train."""
    data = make_shapes((6, 6))
    data.images[7] = data.images[0]
    train, test = data.take(np.arange(6)), data.take(np.arange(6, 12))
    leaks.check(train, data, {"test": test}, "x")
    copies = synthetic(data.take(np.array([0])))
    both = ImageSet(
        np.concatenate([train.images, copies.images]),
        np.concatenate([train.labels, copies.labels]),
        train.classes,
        pd.concat([train.table, copies.table], ignore_index=True),
    )
    leaks.check(both, data, {"test": test}, "x")
    leaks.check(copies, data, {"test": test}, "x")  # as the pipeline does: synthetic images by themselves


def test_a_synthetic_image_equal_to_a_test_image_is_a_leak(make_shapes) -> None:
    data = make_shapes((6, 6))
    test = data.take(np.arange(6, 12))
    with pytest.raises(LeakError, match=f"'s0', which equals '{test.table['id'][2]}', an image of test"):
        leaks.check(synthetic(test.take(np.array([2, 2, 2]))), data, {"test": test}, "x")
    test.images[2] = 0  # what a collapsed generator draws proves nothing
    leaks.check(synthetic(test.take(np.array([2]))), data, {"test": test}, "x")


def test_an_image_of_a_held_out_group_is_a_leak(make_shapes) -> None:
    """Real or synthetic, unless the user allowed that groups are divided."""
    data = make_shapes((6, 6))
    data.table["group"] = [f"p{i // 4}" for i in range(12)]
    train, test = data.take(np.arange(6)), data.take(np.arange(6, 12))
    made = synthetic(data.take(np.array([0])), group="p2")
    for learned, name in ((train, data.table["id"][4]), (made, "s0")):
        with pytest.raises(LeakError, match=f"contains '{name}' of group 'p[12]', which test has images of"):
            leaks.check(learned, data, {"test": test}, "x")
        leaks.check(learned, data, {"test": test}, "x", torn_groups=True)


def test_a_whole_run_with_a_planted_test_image_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault in splitting, which hands train an image of test: the command ends, says why, and leaves no result."""
    part = clean.part

    def faulty(taken: Any, *given: Any) -> Any:
        parted = part(taken, *given)
        test = parted.rows["test"]
        one = test[np.asarray(taken.labels)[test] == 0][:1]  # of a class that is not thinned
        return replace(parted, rows={**parted.rows, "train": np.append(parted.rows["train"], one)})

    monkeypatch.setattr(clean, "part", faulty)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    for name, value in served(tmp_path, {"AUGPIPE_HOME": str(tmp_path / "data")}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LeakError, match=r"train contains '.*', an image of test"):
        call(
            monkeypatch,
            capsys,
            "run",
            "tiny.yaml",
            "--out",
            "out",
            "--set",
            "seeds=1",
            "--set",
            "generators={}",
            "--set",
            "arms=[{name: real}]",
        )
    assert not (tmp_path / "out").exists()
