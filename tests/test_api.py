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


def test_every_exported_name_is_there_and_importing_costs_nothing() -> None:
    for name in augpipe.__all__:
        assert getattr(augpipe, name).__doc__
    code = "import sys, augpipe; print(sorted({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = augpipe.nothing


def test_a_run_in_this_process_reuses_what_it_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert {
        p: p.read_bytes() for p in (tmp_path / "home" / "store" / "records").iterdir()
    } == records


def test_fit_and_synthesize(make_shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    # The reference classifier, with 600 steps by default, is most of the time.
    monkeypatch.setattr(
        "augpipe.api.ClassifierOptions", partial(ClassifierOptions, steps=20, width=0.25)
    )
    train, val = make_shapes((20, 12, 6)), make_shapes((6, 6, 6), seed=1)
    config = {"kind": "cgan", "width": 4, "latent": 8, "batch": 8, "kimg": 0.1, "ticks": 2}
    fitted = augpipe.fit(train, config, val=val, runtime=("cpu", "32-true"), threads=1)
    assert np.isfinite(fitted.best_metric) and 0 < fitted.best_kimg <= 0.2
    images = augpipe.synthesize(fitted)
    assert images.counts() == {0: 0, 1: 8, 2: 14}
    assert images.images.dtype == np.uint8 and images.spec == train.spec
    assert set(images.table["origin"]) == {"synthetic"}
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
