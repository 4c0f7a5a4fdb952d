"""The quiz: which pictures it shows, what its page holds, and the score of its answers."""

from __future__ import annotations

import json
import re

import numpy as np
from shapes import shapes
from stored_results import CLASSES, EVIL

from augpipe.report.quiz import _item, pairs, quiz_page


def test_each_class_has_as_many_real_as_synthetic_pictures() -> None:
    real, synthetic = shapes((9, 2, 4)), shapes((3, 0, 20), seed=1)
    one, other = pairs(real, synthetic, 20, np.random.default_rng(0))
    assert real.counts(one) == synthetic.counts(other) == {0: 3, 1: 0, 2: 4}
    assert len(set(one)) == len(set(other)) == 7
    few, _ = pairs(real, synthetic, 3, np.random.default_rng(0))
    assert real.counts(few) == {0: 2, 1: 0, 2: 1}  # in turns


def test_the_page_holds_val_and_never_test(results) -> None:
    (generator,) = results.generators
    text = quiz_page(results, generator)
    assert text == quiz_page(results, generator)
    found = re.search(r'<script type="application/json" id="quiz">(.*?)</script>', text, re.DOTALL)
    assert found is not None and EVIL not in text and r"\u003cscript\u003e" in found[1]
    items = json.loads(found[1])["items"]
    assert {item["class"] for item in items} == set(CLASSES)
    uris = {truth: {i["image"] for i in items if i["truth"] == truth} for truth in ("real", "synthetic")}
    assert len(items) == 40 and not uris["real"] & uris["synthetic"]
    for split, shown in (("val", True), ("test", False)):
        images = results.splits[split]
        pngs = {_item(images, row, "real")["image"] for row in range(len(images))}
        assert uris["real"] <= pngs if shown else not uris["real"] & pngs, split
