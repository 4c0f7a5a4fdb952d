from __future__ import annotations

import pytest
import torch
from contracts import fresh, steps, tiny

from augpipe.generators.carry_over import carried_over, class_entries
from augpipe.generators.options import OTHER_SET
from augpipe.generators.protocol import Problem


@pytest.mark.parametrize("others", [3, 4])  # as many classes, and more
@pytest.mark.parametrize("family", ["cgan", "deform"])
def test_all_weights_but_those_of_classes_are_carried_over(family, others, here, make_shapes) -> None:
    train, other = make_shapes((4, 4, 4)), make_shapes((4,) * others)
    trained = fresh(family, other, here, seed=1)
    steps(trained, other, 2)
    started, untouched = fresh(family, train, here), fresh(family, train, here).state_dict()
    config, problem = tiny(family), Problem(train.spec, train.classes)
    entries = class_entries(config, problem, here)
    assert any(entries.values()) == (not config.class_free)
    started.warm_start(carried_over(trained.state_dict(), started, config, problem, here))
    theirs = trained.state_dict()
    for net, weights in started.state_dict()["nets"].items():
        for name, value in weights.items():
            # The averaged weights are the better generator: they become the generator's.
            source = theirs["ema"] if net == "generator" else theirs["nets"][net]
            expected = untouched["nets"][net][name] if name in entries[net] else source[name]
            assert torch.equal(value, expected), (net, name)
    assert all(value == value for losses in steps(started, train, 2) for value in losses.values())


def test_start_is_declared_and_checked() -> None:
    source = {"kind": "bundled", "name": "digits"}
    started = tiny("deform", kimg=0, start={"source": source, "kimg": 2})
    assert started.learns_from == {"closed set", OTHER_SET} and started.start_kimg == 2
    assert tiny("deform").learns_from == {"closed set"} and tiny("deform").start_kimg == 0
    # A checkpoint holds no path of the other set.
    assert started.of_checkpoint().start.source is None
    assert type(started).model_validate(started.of_checkpoint().model_dump(mode="json")) == started.of_checkpoint()
    for family, options, message in (
        ("cgan", {"kimg": 0, "start": {"source": source, "kimg": 1}}, "kimg: 0 would draw from an untrained cgan"),
        ("deform", {"kimg": 0, "start": {"source": source}}, "start.kimg: give the budget on the other set"),
        ("cgan", {"per_class": True, "start": {"source": source}}, "start: cgan with per_class has no model for all"),
        ("smote", {"start": {"source": source}}, "start: smote trains no model"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(family, **options)
    with pytest.raises(ValueError, match=r"start\.source\.shift: a second test set has no effect here"):
        tiny("deform", start={"source": {**source, "shift": source}}).check_used()
    with pytest.raises(ValueError, match=r"start\.source: give another set"):
        tiny("deform", start={"kimg": 1}).check_used()
