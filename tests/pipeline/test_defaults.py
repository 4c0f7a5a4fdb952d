from __future__ import annotations

from pathlib import Path

import pytest
from pictures import folders, source

from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.core.options import ImageOptions
from augpipe.data.options import SplitOptions
from augpipe.data.sources import listing
from augpipe.data.survey import survey
from augpipe.generators.families import build
from augpipe.generators.protocol import Problem
from augpipe.pipeline.defaults import expected_counts, for_source


def test_choices_follow_the_folder(tmp_path: Path, make_shapes, make_folder) -> None:
    experiment, choices = for_source(make_folder(tmp_path / "My scans!", make_shapes((60, 12), size=30)))
    assert experiment.name == "My-scans"
    assert (experiment.image.size, experiment.image.channels) == (28, 1)
    assert [arm.name for arm in experiment.arms] == [
        "real",
        "balanced",
        "classic",
        "mixup+classic",
        "smote",
        "cgan",
        "cgan+classic",
    ]
    mixes = {arm.name: arm.mix for arm in experiment.arms}
    assert mixes["classic"].transform == "elastic" and mixes["mixup+classic"].blend == "mixup"
    assert mixes["smote"].fill == "auto"
    assert len(choices) >= 5 and all(c.value and c.why for c in choices)


def test_balanced_data_get_a_count_and_tiny_classes_no_smote(tmp_path: Path, make_shapes, make_folder) -> None:
    balanced, _ = for_source(make_folder(tmp_path / "b", make_shapes((20, 20))))
    assert [arm.mix.fill for arm in balanced.arms if arm.generator == "smote"] == [12]
    long, _ = for_source((tmp_path / "b").rename(tmp_path / ("n" * 200)))
    assert len(long.name) <= 64
    tiny, choices = for_source(make_folder(tmp_path / "t", make_shapes((20, 4))))
    assert "smote" not in [arm.name for arm in tiny.arms] and "smote" not in tiny.generators
    assert any("smallest class has 4" in c.why for c in choices)


@pytest.mark.parametrize("side", [10, 17, 33, 50, 120])
def test_every_chosen_size_can_be_generated(tmp_path: Path, side: int, here, make_shapes, make_folder) -> None:
    experiment, _ = for_source(make_folder(tmp_path / "x", make_shapes((6, 6), size=side)))
    size = experiment.image.size
    assert size is not None and size <= max(16, min(64, side))
    build(experiment.generators["cgan"], Problem(ImageSpec(size, 1), ("a", "b")), here, 0)
    assert survey(listing(experiment.source), ImageOptions(size=size)).spec.size == size


def test_overrides_apply_to_what_was_chosen(tmp_path: Path, make_shapes, make_folder) -> None:
    folder = make_folder(tmp_path / "x", make_shapes((6, 6)))
    experiment, choices = for_source(folder, ("seeds=1", "image.size=32", "split.test=0.4"))
    assert experiment.seeds == (0,) and experiment.image.size == 32
    # What the user set is taken into account, and not told as a choice.
    assert {c.key for c in choices}.isdisjoint({"seeds", "image.size"})
    assert experiment.generators["cgan"].width == 16 and experiment.split.test == 0.4
    other, _ = for_source(folder, ("classifier.kind=resnet18",))
    assert other.classifier.width == 1, "it has no width"
    chosen, _ = for_source(folder, ("source.classes=[c1, c0]",))
    assert chosen.source.classes == ("c1", "c0")
    with pytest.raises(UserError, match="unknown key 'sedes'"):
        for_source(folder, ("sedes=1",))


def test_expected_splits_are_those_of_the_split(tmp_path: Path) -> None:
    """Test is drawn from train where a source has none; folds are not fractions."""
    folders(tmp_path / "train", 10)
    folders(tmp_path / "val", 3)
    expected = expected_counts(listing(source("folder", path=tmp_path)), SplitOptions(test=0.3))
    assert {name: sum(n.values()) for name, n in expected.items()} == {"train": 14, "val": 6, "test": 6}
    whole = listing(source("folder", path=tmp_path / "train"))
    expected = expected_counts(whole, SplitOptions(kind="k_fold", folds=10))
    assert {name: sum(n.values()) for name, n in expected.items()} == {"train": 16, "val": 2, "test": 2}
