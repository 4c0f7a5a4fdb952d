"""What the nets of an experiment cost in time: the request to time them, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from augpipe.classifiers.options import AnyTransform, ClassifierOptions
from augpipe.core.options import Device, Precision
from augpipe.generators.options import AnyGenerator
from augpipe.pipeline.experiment import Experiment

LOOP: Final = 200_000  # additions


class GeneratorCosts(BaseModel, frozen=True):
    """Seconds of one generator. shown: per real image of training.
    settle: once after its weights changed. drawn: per image.
    """

    shown: float
    settle: float
    drawn: float
    bytes: int  # of its checkpoint


class Costs(BaseModel, frozen=True):
    """Seconds in one process, while the others compute too.

    python: of a loop of LOOP additions, which tells how fast what is not arithmetic of nets is. step: of a classifier's
    training, without the draw of its batch. batch: transform (see `name_of`) → a batch drawn. predicted: per image.
    """

    python: float
    step: float
    batch: Mapping[str, float]
    predicted: float
    generators: Mapping[str, GeneratorCosts]
    memory: int  # bytes of the process at its largest

    def scaled(self, factor: float) -> Costs:
        """The same with nets and transforms that take `factor` times as long."""
        times = ("shown", "settle", "drawn")
        return self.model_copy(
            update={
                "step": factor * self.step,
                "batch": {name: factor * seconds for name, seconds in self.batch.items()},
                "predicted": factor * self.predicted,
                "generators": {
                    name: of.model_copy(update={key: factor * getattr(of, key) for key in times})
                    for name, of in self.generators.items()
                },
            }
        )


class Request(BaseModel, frozen=True):
    """What to time. limit: seconds for each net, at most by one step."""

    size: int
    channels: int
    classes: int
    classifier: ClassifierOptions
    generators: Mapping[str, AnyGenerator]
    transforms: tuple[AnyTransform, ...]
    device: Device
    precision: Precision
    threads: int
    limit: float = 1.0


def request(experiment: Experiment, shape: tuple[int, int], classes: int, threads: int) -> Request:
    """What an experiment has to be timed for. shape: size and channels of its images."""
    used = {name for arm in experiment.arms for name in arm.generators}
    transforms = {name_of(arm.mix.transform): arm.mix.transform for arm in experiment.arms}
    if used:  # the reference classifier's
        transforms["light"] = "light"
    return Request(
        size=shape[0],
        channels=shape[1],
        classes=classes,
        classifier=experiment.classifier,
        generators={name: experiment.generators[name] for name in sorted(used)},
        transforms=tuple(transforms.values()),
        device=experiment.runner.device,
        precision=experiment.runner.precision,
        threads=threads,
    )


def name_of(transform: Any) -> str:
    """The name of a transform without its symmetries, which take next to no time; the text of a pipeline, or ""."""
    return transform.partition("+")[0] if isinstance(transform, str) else str(transform or "")


def mean(costs: list[Costs]) -> Costs:
    """The mean of what several processes measured; the largest memory."""
    first, n = costs[0], len(costs)
    generators = {
        name: GeneratorCosts(
            **{
                key: sum(getattr(one.generators[name], key) for one in costs) / n
                for key in ("shown", "settle", "drawn")
            },
            bytes=timed.bytes,
        )
        for name, timed in first.generators.items()
    }
    return Costs(
        python=sum(one.python for one in costs) / n,
        step=sum(one.step for one in costs) / n,
        batch={key: sum(one.batch[key] for one in costs) / n for key in first.batch},
        predicted=sum(one.predicted for one in costs) / n,
        generators=generators,
        memory=max(one.memory for one in costs),
    )
