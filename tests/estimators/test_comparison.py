"""`compare` of images in memory, and the tutorial that shows it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shapes import shapes

import augpipe
from augpipe.data import sources
from augpipe.estimators.comparison import _path, experiment_of
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "from-a-notebook.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NDArray[Any], NDArray[Any]]:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    bars = shapes((30, 20))
    return bars.images, np.where(bars.labels == 0, "<dog>", "cat")


def test_the_tutorial_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The section on estimators: what it prints and returns, and that groups lie on one side."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    section = TUTORIAL.read_text("utf-8").partition("## In the manner of scikit-learn")[2]
    blocks = BLOCK.findall(section.partition("\n## ")[0])
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(TUTORIAL), "exec"), names)
    assert names["images"].shape == (50, 8, 8) and set(names["labels"]) == {3}
    counts = np.bincount(names["y_res"])
    assert counts[3] == counts.max() and set(names["X_res"].shape[1:]) == {8}
    assert names["search"].best_score_ > 0.8
    result = names["result"]
    assert list(result.table.index) == ["real", "classic", "smote+classic"]
    assert result.table.loc["smote+classic", "synthetic"] > 0 and result.verdict
    sides = [set(part.table["group"]) for part in result.splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) > 100
    assert names["page"] == Path("data/compared/report.html") and names["page"].is_file()
    assert (Path("data/compared") / "models").is_dir()
    assert names["batch"].shape[0] == 64 and names["classes"].max() < 10
    assert result.best.name == result.table["val"].idxmax()
    text = result._repr_html_()
    assert "<table" in text and "data:image/svg+xml" in text and "smote+classic" in text
    recipe = result.arm("smote+classic").recipes[0]
    dataset = result.arm("smote+classic").as_dataset()
    assert int(dataset.synthetic.sum()) == sum(recipe.synthetic_count)
    share = dataset.weights[dataset.synthetic].sum().item()
    assert share == pytest.approx(recipe.synthetic_share)
    with pytest.raises(augpipe.UserError, match="unknown arm 'x'; choose from real, classic"):
        result.arm("x")
    with pytest.raises(augpipe.UserError, match="unknown seed '7'; choose from 0"):
        result.best.as_dataset(seed=7)


def test_arms_have_names_and_take_the_budget_of_the_images(images: tuple[NDArray[Any], NDArray[Any]]) -> None:
    path = _path(*images, np.arange(50) // 5)
    listed = sources.listing(experiment_of(path, None, []).source)
    assert listed.classes == ("<dog>", "cat") and listed.counts() == {"<dog>": 30, "cat": 20}
    assert listed.groups is not None and listed.groups[5:10].tolist() == ["1"] * 5
    default = experiment_of(path, None, [])
    arms = [
        "real",
        "weighted",
        "elastic",
        "smote+classic",
        "dcgan",
        Arm(name="half", generator="cgan", mix={"share": 0.5}),
        {"name": "blend", "mix": {"blend": "mixup"}},
    ]
    chosen = experiment_of(path, arms, ["seeds=2", "generators.dcgan.width=8"])
    by_name = {arm.name: arm for arm in chosen.arms}
    assert list(by_name) == ["real", "weighted", "elastic", "smote+classic", "dcgan", "half", "blend"]
    assert chosen.baseline == "real" and len(chosen.seeds) == 2
    assert by_name["elastic"].mix.transform == "elastic" and by_name["dcgan"].mix.transform is None
    assert by_name["smote+classic"].generator == "smote"
    assert by_name["smote+classic"].mix.transform == "light"
    assert set(chosen.generators) == {"smote", "dcgan", "cgan"}
    budget = max(generator.kimg for generator in default.generators.values())
    assert chosen.generators["dcgan"].kimg == chosen.generators["cgan"].kimg == budget
    assert chosen.image == default.image and chosen.classifier == default.classifier
    without_real = experiment_of(path, ["cgan", "classic"], [])
    assert without_real.baseline == "classic"


def test_a_mistake_is_one_line(images: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path, make_folder: Any) -> None:
    X, y = images
    folder = make_folder(tmp_path / "pictures", shapes((12, 12)))
    compare = partial(augpipe.compare, X, y)
    experiment = Experiment.model_validate(
        {"name": "x", "source": {"kind": "bundled", "name": "digits"}, "arms": [{"name": "real"}], "baseline": "real"}
    )
    for call, message in (
        (partial(compare, arms=["real", "clasic"]), "unknown arm 'clasic' .*'classic'"),
        (partial(compare, arms=["real", "cgan+clasic"]), r"unknown arm 'cgan\+clasic' .*cgan\+classic"),
        (partial(compare, arms=["cgan"]), "the baseline 'cgan' uses a trained generator"),
        (partial(compare, arms=[]), "arms"),
        (partial(compare, groups=np.arange(9)), "50 images but 9 groups"),
        (partial(compare, groups=[None, *range(49)]), "1 of 50 groups are missing"),
        (partial(augpipe.compare, X), "y is None"),
        (partial(augpipe.compare, X / 255, y), "type float64"),
        (partial(augpipe.compare, X, y[:9]), "inconsistent numbers of samples"),
        (partial(augpipe.compare, X[:31], y[:31]), "cat"),
        (partial(augpipe.compare, folder, groups=y), "y and groups must be None"),
        (partial(augpipe.compare, experiment, y), "an Experiment has its own images"),
        (partial(augpipe.compare, "nowhere.zip"), "nowhere.zip"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)
