"""Mistakes that the listing of a source shows: refused before a picture is read, and nothing that could be run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pictures import folders, noise, save
from tiny import CONFIG

from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.data import sources
from augpipe.data.inspect import inspect
from augpipe.data.sources import Bad, Listing
from augpipe.pipeline.config_values import override
from augpipe.pipeline.experiment import Outline, build, outline_of
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.validate import check_images, check_listing, mistakes


def listing(*sizes: int, groups: int | None = None, **columns: Any) -> Listing:
    """Images of the digits' classes, so many of each; in groups of `groups` images. Pictures cannot be read."""

    def fetch(rows: np.ndarray) -> Iterator[Any]:
        raise AssertionError("a picture was read")

    labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    if groups is not None:
        columns["groups"] = np.array([f"g{i // groups}" for i in range(len(labels))], object)
    names = tuple(map(str, range(len(sizes))))
    return Listing([str(i) for i in range(len(labels))], labels, names, fetch, **columns)


def outline(*overrides: str) -> Outline:
    values = yaml.safe_load(CONFIG)
    for text in overrides:
        override(values, text)
    return outline_of(values)


DIGITS = (100,) * 10
SIDES = np.array(["train", "val", "test", "train"] * 250, object)


@pytest.mark.parametrize(
    ("overrides", "images", "message"),
    [
        (
            ["arms.smote.mix.share={eight: 0.1}"],
            listing(*DIGITS),
            r"^mix.share of arm 'smote': unknown class 'eight'; choose from 0, 1",
        ),
        (
            ["arms.acgan.mix.fill={7: 5, eight: 9}"],
            listing(*DIGITS),
            r"^mix.fill of arm 'acgan': unknown class 'eight'",
        ),
        (["imbalance.classes=[7, eight]"], listing(*DIGITS), r"^imbalance: unknown class 'eight'"),
        (["imbalance={profile: drop, drop_class: x, percent: 9}"], listing(*DIGITS), r"^imbalance: unknown class 'x'"),
        (["imbalance={profile: counts, counts: {x: 9}}"], listing(*DIGITS), r"^imbalance: unknown class 'x'"),
        (
            ["imbalance={profile: counts, counts: {3: 83}}"],
            listing(*DIGITS),
            r"class '3' has 100 images, of which train has at most 82, fewer than the 83 requested",
        ),
        (
            ["imbalance={profile: counts, counts: {3: 51}}", "split={}"],
            listing(*DIGITS, splits=SIDES),
            r"of which train has at most 50, fewer than the 51",
        ),
        (["split.kind=grouped"], listing(*DIGITS), "^split.kind is grouped, but the source has no groups"),
        (
            ["split.allow_torn_groups=why"],
            listing(*DIGITS),
            "^split.allow_torn_groups has no effect, because the source has no groups",
        ),
        (["split.kind=official"], listing(*DIGITS), "^split.kind is official, but the source has no split"),
        (
            ["split={kind: k_fold, folds: 101}"],
            listing(*DIGITS),
            "class '0' has 100 images; 101 folds need at least 101",
        ),
        ([], listing(*DIGITS[:9], 2), "class '9' has 2 images; train, val and test need at least 3"),
        ([], listing(*DIGITS, groups=100), "class '0' has 1 group; train, val, test need at least 3"),
        (["split={kind: k_fold}"], listing(*DIGITS, groups=25), "class '0' has 4 groups; 0, 1, 2, 3, 4 need"),
        ([], listing(*DIGITS, splits=SIDES, groups=2), "500 groups divided between train, val and test"),
        (
            [],
            listing(*DIGITS, splits=np.array(["train"] * 900 + ["test"] * 100, object)),
            "official train of the source has no image of class '9'",
        ),
        (
            [],
            listing(*DIGITS, splits=np.array(["val"] * 1000, object)),
            "the official split of the source has no train",
        ),
        (
            ["split={test: 0.4}"],
            listing(*DIGITS, splits=SIDES),
            "^split.test=0.4 has no effect, because the source has a test of its own",
        ),
        (["split={seed: 7}"], listing(*DIGITS, splits=SIDES), "^split.seed=7 has no effect"),
        (
            ["resplit=true"],
            listing(*DIGITS, splits=SIDES),
            "resplit draws a split for each seed, but the source has an official",
        ),
        (
            [],
            listing(*DIGITS[:9], 0, bad=(Bad("x.png", "broken", "9"),)),
            "class '9' has no usable picture: 1 could not be used, the first: broken",
        ),
        (
            ["min_images=5"],
            listing(*DIGITS[:9], 3),
            "class '9' has 3 pictures that can be used, fewer than min_images 5",
        ),
        ([], listing(100), "at least 2 classes are needed; got 0"),
        ([], listing(*DIGITS, lost=("the folder a: denied",)), "cannot read the folder a: denied"),
        (["on_bad=fail"], listing(*DIGITS, bad=(Bad("x.png", "broken", "9"),)), "cannot use x.png: broken"),
        ([], replace(listing(*DIGITS), classes=(*"01234567", "a", "A")), "differ only in case"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_refused_before_a_picture_is_read(overrides: list[str], images: Listing, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_listing(outline(*overrides), images)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["imbalance={profile: counts, counts: {3: 82}}"],
        ["split={kind: k_fold, folds: 100}"],
        ["arms.smote.mix.share={3: 0.1}", "arms.acgan.mix.fill={7: 5}"],
    ],
    ids=str,
)
def test_what_could_be_run_is_not_refused(overrides: list[str]) -> None:
    check_listing(outline(*overrides), listing(*DIGITS))
    check_listing(outline(), listing(*DIGITS, groups=10))


def test_the_shape_of_the_images() -> None:
    classes = tuple("0123456789")
    experiment = build(yaml.safe_load(CONFIG), ["generators.lonely={kind: acgan}"])
    check_images(experiment, ImageSpec(16, 1), classes)
    lonely = experiment.model_copy(update={"arms": experiment.arms[:1]})
    check_images(lonely, ImageSpec(36, 1), classes)  # no arm uses a family that cannot
    for one, generators in ((experiment, ()), (lonely, ("lonely",))):
        with pytest.raises(UserError, match="image size 36 is not 4, 5, 6 or 7 doubled"):
            check_images(one, ImageSpec(36, 1), classes, generators)


def test_an_inspection_reports_what_stops_the_run(tmp_path: Path) -> None:
    """The same words from both."""
    root = folders(tmp_path / "pics", 10)
    save(root / "c" / "1.png", noise(9000))
    small = [
        "split={val: 0.2, test: 0.2}",
        "arms=[{name: real}]",
        "generators={}",
        "image.size=16",
        "imbalance=natural",
    ]
    cases = {
        "imbalance={profile: counts, counts: {a: 9}}": (3, "of which train has at most 8, fewer than the 9"),
        "imbalance={profile: counts, counts: {a: 7}}": (3, "class 'a' has 6 training images, fewer than the 7"),
        "imbalance={profile: step, classes: [x], keep: 0.5}": (3, "unknown class 'x'; choose from a, b"),
        "image.window=full": (3, "image.window full has no effect: every picture has 8 bits"),
        "imbalance=natural": (1, "class 'c' has 1 image; train, val and test need at least 3"),
    }
    for text, (least, message) in cases.items():
        values = yaml.safe_load(CONFIG)
        where = f"source={{kind: folder, path: {root}}}"
        experiment = build(values, [where, *small, text, f"min_images={least}"])
        look = inspect(sources.listing(experiment.source), experiment.image, experiment.split, policy=experiment.policy)
        (reported,) = mistakes(experiment, look)
        assert message in reported
        from augpipe.pipeline.context import Context

        with pytest.raises(UserError) as caught:
            prepare(Context(root=tmp_path / "store"), experiment)
        assert str(caught.value) == reported


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ("each ms_ssim > 0.1", "ms_ssim needs images of 161 px; these have 32"),
        ("lpips_real > 0.1", "lpips_real needs alexnet-owt-7be5be79.pth below AUGPIPE_HOME"),
    ],
)
def test_a_gate_whose_figure_has_no_value_is_refused(gate: str, why: str) -> None:
    values = yaml.safe_load(CONFIG) | {"gate": ["ssim > 0.1", gate]}
    with pytest.raises(UserError, match=f"the gate '{gate}' cannot hold: {why}"):
        check_images(build(values), ImageSpec(32, 1), tuple("0123456789"))
