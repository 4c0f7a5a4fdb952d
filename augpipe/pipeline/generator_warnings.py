"""What the families say of the number of training images of each class, before a run trains them."""

from __future__ import annotations

from augpipe.core.store import load_images
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared


def generator_warnings(experiment: Experiment, prepared: Prepared) -> tuple[str, ...]:
    """A line for each thing to know about the generators that arms use; see `GeneratorConfig.warnings`.

    A generator that starts on another set is warned of by that set, on which it learns first or alone.
    """
    lines = list[str]()
    for name, options in experiment.generators.items():
        if name in experiment.unused_generators:
            continue
        counts = prepared.by(experiment.conditions.get(name, ())).counts["train"]
        if name in prepared.starts:
            counts = load_images(prepared.starts[name]).counts()
        elif options.per_class:  # each model learns from one class
            counts = {0: max(counts.values())}
        lines += [f"generator {name!r}: {line}" for line in options.warnings(counts)]
    return tuple(lines)
