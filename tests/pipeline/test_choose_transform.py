"""The transform that val chooses: pictures whose symmetries are known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from augpipe.classifiers.symmetries import ELEMENTS, Loss
from augpipe.core.images import ImageSet, provenance
from augpipe.pipeline import choose_transform as trials
from augpipe.pipeline.defaults import suggest


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trials, "CLASSIFIER", trials.CLASSIFIER.model_copy(update={"steps": 50, "batch": 24}))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def chosen(folder: Path, *, policies: bool = False):
    suggestion = suggest(folder)
    return trials.choose_transform(suggestion.experiment(suggestion.standard()), policies=policies)


def test_digits_have_no_mirrors_and_no_turns(make_folder) -> None:
    digits = load_digits()
    rows = np.flatnonzero(np.isin(digits.target, (2, 3, 6, 9)))[:500]
    images = (digits.images[rows] * 15.9).astype(np.uint8).repeat(2, 1).repeat(2, 2)[:, None]
    _, labels = np.unique(digits.target[rows], return_inverse=True)
    table = provenance([str(row) for row in rows])
    name, why = chosen(make_folder(Path("d"), ImageSet(images, labels.astype(np.int64), ("2", "3", "6", "9"), table)))
    assert name == "elastic"
    assert "in all classes: left-right mirrors 0." in why and "; shown to stay" not in why


def test_bars_have_the_mirror_that_keeps_their_height(make_folder, make_shapes, monkeypatch) -> None:
    """A class is the height of a bar: left-right mirrors keep it, up-down mirrors and turns do not."""
    monkeypatch.setattr(trials, "OTHERS", ())
    folder = make_folder(Path("bars"), make_shapes((150, 90, 60)))
    first = chosen(folder, policies=True)
    assert first.name in ("elastic+fliplr", "faces")
    assert re.search(r"shown to stay above 0\.\d{3} with left-right mirrors 0\.\d{3};", first.why)
    assert re.search(r"; not used, as not shown to stay above 0\.\d{3} in all classes: up-down mirrors 0\.", first.why)
    assert first.why.endswith(" than faces" if "+" in first.name else " than elastic")


def test_another_policy_has_to_be_better_by_more_than_chance() -> None:
    labels = np.repeat([0, 1], (60, 20))
    right = np.ones(80)
    right[:20] = 0

    def trial(name: str, wrong: int) -> trials.Trial:
        return trials.Trial(name, right, np.where(np.arange(80) < wrong, 0.0, 1.0), {})

    usual = trial("elastic", 20)
    assert trials._better(usual, [], labels) is usual
    assert trials._better(usual, [trial("light", 18), trial("medical", 30)], labels) is usual
    best = trial("faces", 2)
    assert trials._better(usual, [trial("light", 8), best], labels) is best


def test_used_and_unused_mirrors_are_distinguished(make_shapes) -> None:
    """Both keep the class, as their combination, a half turn, does not: of two equal figures one is used."""
    val = make_shapes((2, 2))
    trial = trials.Trial("elastic", np.full(4, 0.8612), np.ones(4), {})
    losses = {name: Loss(0.5, False, 0.036) for name in ELEMENTS}
    losses["fliplr"] = losses["flipud"] = Loss(0.018, True, 0.036)
    assert list(trials._about_symmetries(trial, losses, ("fliplr",), val)) == [
        "probability of the true class on val 0.861, by chance 0.500",
        "shown to stay above 0.825 with left-right mirrors 0.843",
        "also with up-down mirrors 0.843, not used as combinations with these do not",
        "not used, as not shown to stay above 0.825 in all classes: half turns 0.361, quarter turns 0.361",
    ]
    nothing = dict.fromkeys(ELEMENTS, Loss(0.0, False, 0.0))
    assert (
        list(trials._about_symmetries(trial, nothing, (), val))[1] == "no mirror or turn can be shown to keep the class"
    )
