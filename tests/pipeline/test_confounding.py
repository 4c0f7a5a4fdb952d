"""Arms that differ in more than one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from augpipe.pipeline.confounding import over_sampling
from augpipe.pipeline.experiment import load

DIGITS = Path(__file__).resolve().parents[2] / "configs" / "digits.yaml"


@pytest.mark.parametrize(
    ("mix", "named"),
    [
        ("{fill: auto, share: 0.1}", True),
        ("{fill: search, share: {'9': 0.2}, transform: light, loss: focal}", True),
        ("{fill: auto, share: auto, sampler: sqrt, transform: elastic}", True),
        ("{fill: auto, share: 0.1, transform: light}", False),  # `classic` is its twin
        ("{fill: auto, share: 0.1, sampler: balanced}", False),
        ("{fill: auto}", False),
        ("{fill: auto, share: 0.6}", False),
        ("{fill: 0.5, share: 0.1}", False),  # the classes are not drawn equally often
    ],
)
def test_arms_that_over_sample_besides_are_named_with_the_arm_that_does_only_that(mix: str, named: bool) -> None:
    arms = [
        "{name: real}",
        "{name: classic, mix: {sampler: balanced, transform: light}}",
        f"{{name: filled, generator: acgan, mix: {mix}}}",
    ]
    lines = over_sampling(load(DIGITS, [f"arms=[{', '.join(arms)}]"]))
    assert len(lines) == named
    if named:
        assert "'filled'" in lines[0]
        twin = lines[0][lines[0].index("{") :]
        assert not over_sampling(load(DIGITS, [f"arms=[{', '.join([*arms, twin])}]"]))
