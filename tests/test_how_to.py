"""The code of the pages that say how to add a family, source, metric, check, loss or transform: it runs as written."""

from __future__ import annotations
import __future__

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from contracts import draw, fresh, steps
from embeddings import embedded, gauss
from pictures import came
from torch.nn import functional as F

import augpipe
import augpipe.data.sources
import augpipe.generators.models
from augpipe.classifiers import losses, scores, transforms
from augpipe.core.options import ImageOptions
from augpipe.core.registry import Registry, registered_in
from augpipe.generators.preview import preview
from augpipe.pipeline.experiment import build
from augpipe.synthetic import curation, fidelity
from augpipe.synthetic.fidelity import base
from augpipe.synthetic.options import Curation

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
REGISTRIES = (scores.metrics, losses.losses, transforms.policies, curation.checks, base.metrics)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (PAGES / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def package_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that adds a page's file to a package, though not in the checkout; returns the page's config."""

    def add(page: str, package: Any, kind: str) -> dict[str, Any]:
        (code,), (config, *_) = blocks(page, "python"), blocks(page, "yaml")
        (tmp_path / f"{kind}.py").write_text(code)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{kind}", raising=False)
        values: dict[str, Any] = yaml.safe_load(config)
        return values

    return add


def test_a_family(package_with: Any, make_shapes, here) -> None:
    config = package_with("add-a-family.md", augpipe.generators.models, "pixels")
    options = build(config).generators["mine"]
    assert preview("pixels") is not None and options.rate == 0.05
    train = make_shapes((30, 10))
    one, two = (fresh("pixels", train, here) for _ in range(2))
    steps(one, train, 3)
    two.load_state_dict(one.state_dict())
    assert torch.equal(draw(one, [0, 1, 1]), draw(two, [0, 1, 1]))
    fitted = augpipe.fit(train, options.model_copy(update={"kimg": 0.5}), threads=1)
    assert augpipe.synthesize(fitted, "auto").counts() == {0: 0, 1: 20}


def test_a_source(package_with: Any, tmp_path: Path) -> None:
    config = package_with("add-a-source.md", augpipe.data.sources, "stripes")["source"]
    read = came(config.pop("kind"), tmp_path, ImageOptions(size=16, channels=1), **config).image_set()
    assert read.classes == ("horizontal", "vertical") and read.counts() == {0: 50, 1: 50}
    along, across = (read.images[read.labels == label].std(axis) for label, axis in ((0, 3), (1, 2)))
    assert not along.any() and not across.any()


@pytest.fixture
def added() -> Iterator[Any]:
    """A function that runs the page's block that registers a name, in the module it belongs to."""
    before = [dict(registry.items()) for registry in REGISTRIES]

    def add(module: Any, registry: Registry[Any], register: str, name: str) -> Any:
        (code,) = (code for code in blocks("add-a-metric.md", "python") if f'@{register}("{name}"' in code)
        flags = __future__.annotations.compiler_flag
        exec(compile(code, "add-a-metric.md", "exec", flags, dont_inherit=True), dict(vars(module)) if module else {})
        return registry[name]

    yield add
    for registry, items in zip(REGISTRIES, before, strict=True):
        registry._items = items


def test_a_metric(added: Any) -> None:
    function = added(scores, scores.metrics, "metrics.register", "top2_accuracy")
    p, y = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]), np.array([1, 0, 0])
    assert function(p, y) == pytest.approx(2 / 3)
    table = scores.score(p, y, list("abc"), {0: 2, 1: 1, 2: 1})
    assert table[table.metric == "top2_accuracy"]["value"].tolist() == [function(p, y)]


def test_a_fidelity_figure(added: Any) -> None:
    added(None, base.metrics, "metric", "mean_distance")
    real = gauss(30, 4)
    compared = fidelity.Compared(embedded(real), embedded(real + 2))
    table = fidelity.measure(compared, ("a", "b"))
    assert table[(table.metric == "mean_distance") & (table["class"] == "")].value.item() == pytest.approx(4, rel=1e-5)


def test_a_check(added: Any) -> None:
    added(curation, curation.checks, "check", "bright")
    shape = (4, 1, 16, 16)
    train = embedded(gauss(4, 4), images=np.full(shape, 100, np.uint8))
    levels = np.array([0, 49, 50, 200], np.uint8).reshape(-1, 1, 1, 1)
    candidates = embedded(gauss(4, 4), images=np.broadcast_to(levels, shape))
    options = Curation.model_construct(checks=("bright",))
    curator = curation.Curator(options, curation.Reference(train, train, 0.05), lambda images, labels: candidates)
    rows, values = curator.check(candidates.images, candidates.labels)
    assert rows.tolist() == [2, 3] and values["bright"].tolist() == [50, 200]


def test_a_loss(added: Any) -> None:
    loss = added(losses, losses.losses, "losses.register", "poly1")
    z, y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 0])
    p = torch.softmax(z, 1)[torch.arange(5), y]
    item = loss(kind="poly1", epsilon=2.0).item_loss(torch.full((3,), 1 / 3), {0: 1, 1: 1, 2: 1})
    assert torch.allclose(item(z, y), F.cross_entropy(z, y, reduction="none") + 2 * (1 - p))


def test_a_transform(added: Any, make_shapes) -> None:
    images, _ = make_shapes((20, 20)).tensors()
    policy = added(transforms, transforms.policies, "policies.register", "negative")
    changed = policy(0)(images)
    same = (changed == images).flatten(1).all(1)
    assert 10 < same.sum() < 30 and torch.equal(255 - changed[~same], images[~same])
    assert torch.equal(policy(0)(images), changed)


@pytest.mark.parametrize(
    ("file", "register", "name"),
    [
        (curation.__file__, "check", "bright"),
        (transforms.__file__, "policies.register", "negative"),
        (fidelity.pixels.__file__, "metric", "mean_distance"),
    ],
    ids=["check", "transform", "figure"],
)
def test_a_config_can_name_what_is_added(file: str, register: str, name: str, tmp_path: Path) -> None:
    """Names are read from the file, with the block at its end."""
    (code,) = (code for code in blocks("add-a-metric.md", "python") if f'@{register}("{name}"' in code)
    place = tmp_path / "module.py"
    place.write_text(Path(file).read_text("utf-8") + code)
    assert registered_in(place, register) == (*registered_in(Path(file), register), name)
