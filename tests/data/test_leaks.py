"""A held-out image that is planted into what a training learns from ends the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import Work, make_work
from tiny import CONFIG, environment, served

from augpipe.core.images import SYNTHETIC, ImageSet, provenance
from augpipe.core.store import Ref, load_images
from augpipe.data import leaks
from augpipe.data.leaks import LeakError
from augpipe.pipeline.records import Prepared

ROOT = Path(__file__).resolve().parents[2]


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
    with pytest.raises(
        LeakError, match=f"training data of generator 'acgan' contains '{name}', an image of {side}"
    ):
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
    with pytest.raises(
        LeakError, match="the classifier of arm 'smote' contains images derived from"
    ):
        work.classifier(prepared, recipe, "smote")


def test_equal_pixels_under_two_ids_are_no_leak(make_shapes) -> None:
    """Two scans that became equal as they were made smaller; and a synthetic image that looks like a test image."""
    data = make_shapes((6, 6))
    data.images[7] = data.images[0]
    train, test = data.take(np.arange(6)), data.take(np.arange(6, 12))
    leaks.check(train, data, {"test": test}, "x")
    made = ImageSet(
        test.images, test.labels, test.classes, provenance(list(test.table["id"]), origin=SYNTHETIC)
    )
    leaks.check(made, data, {"test": test}, "x")


PLANTS = '''
"""Every Python of the run: a fault in splitting, which hands train an image of test."""
from dataclasses import replace

import numpy as np

from augpipe.data import clean

part = clean.part


def faulty(taken, *given):
    found = part(taken, *given)
    test = found.rows["test"]
    one = test[np.asarray(taken.labels)[test] == 0][:1]  # of a class that is not thinned
    return replace(found, rows={**found.rows, "train": np.append(found.rows["train"], one)})


clean.part = faulty
'''


def test_a_whole_run_with_a_planted_test_image_fails(tmp_path: Path) -> None:
    """`augpipe run` in a process of its own: it ends, says why, and leaves no result."""
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(PLANTS)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "tiny.yaml", "--out", "out", "--set", "seeds=1",
         "--set", "generators={}", "--set", "arms=[{name: real}]"],
        cwd=tmp_path, text=True, capture_output=True, check=False, timeout=300,
        env={**served(tmp_path, environment(tmp_path)), "PYTHONPATH": f"{tmp_path / 'fault'}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode != 0, done.stdout[-2000:]
    assert "an image of test" in done.stdout + done.stderr, done.stderr[-2000:]
    assert not (tmp_path / "out").exists()
