from __future__ import annotations

import numpy as np

from augpipe.data.duplicate_groups import EXAMPLES, IN_GROUP, duplicate_groups

SIDES = np.array(["train", "train", "val", "val", "test", "test", "test"], object)
EQUAL = np.array([0, 1, 0, 2, 0, 3, 4])  # rows 0, 2 and 4 are equal
NEAR = np.array([0, 1, 0, 1, 0, 2, 2])  # and nearly equal: 1 and 3, 5 and 6
LABELS = np.array([0, 1, 0, 0, 0, 1, 1])


def test_equal_images() -> None:
    groups = duplicate_groups(EQUAL, LABELS, SIDES, None)
    assert (groups.groups, groups.extra, groups.mixed_classes) == (1, 2, 0)
    assert groups.across_splits == {"val in train": 1, "test in train": 1, "test in val": 1}
    assert groups.examples == ((0, 2, 4),)


def test_nearly_equal_images_do_not_count_equal_ones_again() -> None:
    groups = duplicate_groups(NEAR, LABELS, SIDES, EQUAL)
    assert (groups.groups, groups.extra, groups.mixed_classes) == (2, 2, 1)
    assert groups.across_splits == {"val in train": 1, "test in train": 0, "test in val": 0}
    assert groups.examples == ((1, 3), (5, 6)), "across splits first"


def test_what_is_shown_is_limited_and_there_may_be_no_split_and_no_image() -> None:
    of_many = np.repeat(np.arange(EXAMPLES + 1), IN_GROUP + 1)
    groups = duplicate_groups(of_many, np.zeros_like(of_many), None, None)
    assert groups.groups == EXAMPLES + 1 and groups.across_splits == {}
    assert len(groups.examples) == EXAMPLES and {len(rows) for rows in groups.examples} == {IN_GROUP}
    nothing = np.empty(0, np.int64)
    assert duplicate_groups(nothing, nothing, None, None).groups == 0
