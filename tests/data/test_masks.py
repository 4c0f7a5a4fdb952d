"""Masks beside pictures: no image of a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from advice import printed, touched, typed

from augpipe.core.errors import UserError

# Pictures and their masks.
MASKS = {
    "beside, as in BUSI": (
        ["a/a (1).png", "a/a (2).png", "b/b (1).png"],
        ["a/a (1)_mask.png", "a/a (1)_mask_1.png", "b/b (1)_MASK.png"],
    ),
    "in a folder beside, as in COVID-19 Radiography": (
        ["A/images/A-1.png", "A/images/A-2.png", "B/images/B-1.png"],
        ["A/masks/A-1.png", "A/masks/A-2.png", "B/masks/B-1.png"],
    ),
    "in a folder inside": (["a/1.png", "b/1.png"], ["a/Label/1_label.png", "b/Label/1.PNG"]),
    "heat maps": (["a/1.png", "b/1.png"], ["a/grad-cam/1_cam.png", "b/1_heatmap.png"]),
    "below a split": (
        ["train/a/images/1.png", "train/b/images/1.png", "test/a/images/2.png", "test/b/images/2.png"],
        ["train/a/ground_truth/1.png", "test/b/ground_truth/2.png"],
    ),
    "of a class without defects, as in MVTec": (
        ["bottle/test/hole/1.png", "bottle/test/hole/2.png", "cable/test/good/1.png"],
        ["bottle/ground_truth/hole/1_mask.png", "bottle/ground_truth/hole/2_mask.png"],
    ),
}


@pytest.mark.parametrize("layout", [(), ("source.layout={label}/**/*",)], ids=["", "layout"])
@pytest.mark.parametrize("case", MASKS)
def test_masks_stop_and_the_printed_pattern_leaves_out_only_these(
    tmp_path: Path, case: str, layout: tuple[str, ...]
) -> None:
    """With a layout too: it does not say that a mask is an image."""
    pictures, masks = MASKS[case]
    touched(tmp_path, *pictures, *masks)
    layout = () if "split" in case and layout else layout
    with pytest.raises(
        UserError, match=f"has {len(masks)} pictures that are by their names masks or overlays of others, such as "
    ) as caught:
        typed(tmp_path, *layout)
    exclude, include = printed(str(caught.value))
    images = typed(tmp_path, *layout, exclude)
    assert {Path(one).name for one in images.ids} == {Path(one).name for one in pictures}
    assert len(images) == len(pictures) and not images.bad
    assert len(typed(tmp_path, include, "source.layout={label}/**/*")) == len(pictures) + len(masks)


def test_the_printed_pattern_holds_those_that_are_set(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.png", "a/1_mask.png", "b/1.png", "b/gas_mask.png", "c/1.png", "c/2.png")
    with pytest.raises(UserError, match=r"\(and 1 other, such as b/gas_mask\.png\)") as caught:
        typed(tmp_path, "source.exclude=c/1.png")
    assert typed(tmp_path, printed(str(caught.value))[0]).ids == ["a/1.png", "b/1.png", "c/2.png"]


@pytest.mark.parametrize(
    "paths",
    [
        ["gt/0.png", "mask/0.png"],  # classes
        ["a/gas_mask.png", "b/0.png"],  # no other picture has the name
        ["a/masks/0.png", "a/masks/1.png", "b/1.png"],  # nor here
    ],
)
def test_names_that_are_no_masks(tmp_path: Path, paths: list[str]) -> None:
    assert len(typed(touched(tmp_path, *paths))) == len(paths)
