"""The tutorial that writes a family: its file and its config, as written, with a small budget."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from contracts import draw, few_images_for_statistics, fresh, steps

import augpipe
import augpipe.generators.models
from augpipe.core.registry import kinds_in
from augpipe.generators import preview
from augpipe.generators.options import FAMILIES
from augpipe.pipeline.experiment import build

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "your-own-family.md"
LINES = 60  # of code, as its title says


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The tutorial's config; its family is a file that the package finds, though not in the checkout."""
    text = TUTORIAL.read_text("utf-8")
    (family,), (config,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for kind in ("python", "yaml")
    )
    assert len([line for line in family.splitlines() if line.strip()]) <= LINES
    (tmp_path / "hinge.py").write_text(family)
    monkeypatch.setattr(augpipe.generators.models, "__path__", [*augpipe.generators.models.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{FAMILIES}.hinge", raising=False)
    assert "hinge" in kinds_in(FAMILIES)
    values: dict = yaml.safe_load(config)
    return values


def test_the_family_holds_what_all_families_hold(config: dict, make_shapes, here) -> None:
    train = make_shapes((8, 8), channels=3)
    with few_images_for_statistics():
        one, two = (fresh("hinge", train, here) for _ in range(2))
        losses = steps(one, train, 3)
        assert set(losses[-1]) == {"loss_d", "loss_g"} and np.isfinite(list(losses[-1].values())).all()
        two.load_state_dict(copy.deepcopy(one.state_dict()))
        images = draw(one, [0, 1, 1])
        assert images.dtype == torch.uint8 and images.shape == (3, 3, 16, 16)
        assert torch.equal(images, draw(two, [0, 1, 1]))
        assert steps(one, train, 1, seed=1) == steps(two, train, 1, seed=1)
    assert preview.preview("hinge") is not None  # its options are checked without torch


def test_it_is_trained_by_the_loop_with_the_options_of_the_config(config: dict, make_shapes) -> None:
    """A run's stages need the file in the package itself, whose code their keys name; the loop and the draws do not."""
    experiment = build(config)
    assert [arm.made_by for arm in experiment.arms] == ["", "", "mine"]
    options = experiment.generators["mine"].model_copy(update={"kimg": 0.5, "ticks": 2})
    train = make_shapes((30, 10))
    with few_images_for_statistics():
        fitted = augpipe.fit(train, options, threads=1)
        images = augpipe.synthesize(fitted, "auto")
    assert 0.5 <= fitted.best_kimg < 0.6
    assert images.counts() == {0: 0, 1: 20} and images.spec == train.spec
