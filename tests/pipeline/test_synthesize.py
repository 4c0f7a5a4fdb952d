"""Plans and pools of several generators."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import make_work

from augpipe.core.store import load_images, load_table
from augpipe.pipeline.stages.synthesize import pool, split_plan


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 5), st.integers(0, 50), min_size=1), st.integers(1, 4))
def test_a_plan_is_dealt_evenly(plan: dict[int, int], parts: int) -> None:
    dealt = split_plan(plan, parts)
    assert len(dealt) == parts
    for label, n in plan.items():
        own = [part[label] for part in dealt]
        assert sum(own) == n and max(own) - min(own) <= 1


def test_images_of_several_generators_are_one_set(tmp_path: Path) -> None:
    work = make_work(tmp_path)
    prepared = work.prepare()
    reference = work.reference(prepared)
    made = []
    for name, plan in zip(("smote", "acgan"), split_plan({7: 9, 9: 4}, 2), strict=True):
        trained = work.generator(prepared, reference, name)
        made.append(work.synthetic(prepared, reference, trained, plan, name == "acgan"))
    pooled = pool(work.context, made)
    images = load_images(pooled.images)
    assert images.labels.tolist() == sorted(images.labels.tolist())
    assert len(images) == sum(len(load_images(part.images)) for part in made)
    counts = images.counts()
    assert counts[7] + pooled.short.get(7, 0) == 9 and counts[9] + pooled.short.get(9, 0) == 4
    own = images.table[images.table["source"] == "smote"]
    assert len(own) == 7 and (own["parent"] != "").all()
    assert set(load_table(pooled.checks)["id"]) == set(images.table["id"])
    assert set(load_table(pooled.funnel)["generator"]) == {"acgan"}
    # An arm's mixture takes it as it takes one generator's.
    arm = work.arm("acgan")
    both = arm.model_copy(update={"generator": ("smote", "acgan")})
    assert work.recipe(prepared, both, pooled).synthetic_count == tuple(counts.values())
