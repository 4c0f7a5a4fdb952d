"""Weights that a generator takes over from one of its family that was trained on other classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from augpipe.core.device import Runtime
from augpipe.generators import families
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Problem


class Stateful(Protocol):
    """What has a state, as a `Generator`."""

    def state_dict(self) -> dict[str, Any]:
        """See `Generator`."""


def class_entries(config: GeneratorConfig, problem: Problem, runtime: Runtime) -> dict[str, frozenset[str]]:
    """Net → names of its weights that belong to classes: those whose shape depends on the number of classes."""
    wider = Problem(problem.spec, (*problem.classes, "one more"))
    one, other = (families.build_one(config, p, runtime, 0).state_dict()["nets"] for p in (problem, wider))
    return {
        net: frozenset(name for name, value in one[net].items() if value.shape != other[net][name].shape) for net in one
    }


def carried_over(
    state: Mapping[str, Any], fresh: Stateful, config: GeneratorConfig, problem: Problem, runtime: Runtime
) -> dict[str, Any]:
    """The `state_dict` of a generator of other classes, with the weights of `fresh` where they belong to classes.

    config, problem: of `fresh`. The result is for `WarmStarting.warm_start`.
    """
    own, entries = fresh.state_dict(), class_entries(config, problem, runtime)

    def merged(net: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        return {name: ours[name] if name in entries[net] else value for name, value in theirs.items()}

    nets = {net: merged(net, theirs, own["nets"][net]) for net, theirs in state["nets"].items()}
    return {**state, "nets": nets, "ema": merged("generator", state["ema"], own["ema"])}
