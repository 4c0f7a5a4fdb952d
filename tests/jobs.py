"""An experiment and a context, and its stages called by hand with the experiment's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tiny import CONFIG

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.store import Store
from augpipe.pipeline import experiment as config
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import (
    Choice,
    Measured,
    Prepared,
    Recipe,
    Scored,
    Synthetic,
    TrainedClassifier,
    TrainedGenerator,
    TrainingSpec,
)
from augpipe.pipeline.stages.measure import measure, measure_set, measure_synthetic
from augpipe.pipeline.stages.mix import choose, mix
from augpipe.pipeline.stages.prepare import images_to_make, prepare
from augpipe.pipeline.stages.score import score
from augpipe.pipeline.stages.synthesize import synthesize
from augpipe.pipeline.stages.train_classifier import train_classifier, train_reference
from augpipe.pipeline.stages.train_generator import join_generators, train_generator


@dataclass(frozen=True)
class Work:
    """Each method calls one stage in this process, without the cache."""

    experiment: Experiment
    context: Context

    @property
    def store(self) -> Store:
        return self.context.store

    @property
    def runtime(self) -> Runtime:
        return self.context.runtime()

    def but(self, experiment: Experiment | None = None, **context: Any) -> Work:
        """The same with another experiment, or with other fields of the context."""
        return Work(experiment or self.experiment, self.context.model_copy(update=context))

    def set(self, *overrides: str) -> Work:
        """The same with options of the experiment changed."""
        return replace(self, experiment=config.build(self.experiment.model_dump(mode="json"), list(overrides)))

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.experiment.arms if arm.name == name)

    def plan(self, prepared: Prepared, arm: str) -> dict[int, int]:
        return images_to_make(self.arm(arm), prepared.counts["train"], prepared.classes)

    def prepare(self, seed: int | None = None) -> Prepared:
        return prepare(self.context, self.experiment, seed)

    def reference(self, prepared: Prepared, seed: int = 0) -> Ref:
        return train_reference(self.context, prepared, self.experiment.classifier, seed)

    def generator(
        self, prepared: Prepared, reference: Ref, spec: str | TrainingSpec, start: TrainedGenerator | None = None
    ) -> TrainedGenerator:
        """spec: of one training, or the name of a generator that is trained whole with seed 0."""
        spec = TrainingSpec(name=spec, seed=0) if isinstance(spec, str) else spec
        options = self.experiment.generators[spec.name]
        return train_generator(self.context, prepared, reference, spec, start, options, self.experiment.classifier)

    def join(
        self, prepared: Prepared, classes: list[TrainedGenerator], start: TrainedGenerator | None = None
    ) -> TrainedGenerator:
        options = self.experiment.generators[classes[0].name]
        return join_generators(self.context, prepared, options, classes, start)

    def synthetic(
        self, prepared: Prepared, reference: Ref, generator: TrainedGenerator, counts: Mapping[int, int], curated: bool
    ) -> Synthetic:
        curation = self.experiment.curation if curated else None
        features = self.experiment.fidelity.features
        return synthesize(self.context, prepared, reference, generator, counts, curation, features)

    def measured(self, prepared: Prepared, reference: Ref, generator: TrainedGenerator) -> Measured:
        options, classifier = self.experiment.fidelity, self.experiment.classifier
        return measure(self.context, prepared, reference, generator, options, classifier)

    def measured_set(self, prepared: Prepared, reference: Ref, images: ImageSet | Synthetic) -> Measured:
        """Of images in memory, or of those that an arm was filled with."""
        options, classifier = self.experiment.fidelity, self.experiment.classifier
        if isinstance(images, Synthetic):
            return measure_synthetic(self.context, prepared, reference, images, options, classifier, 0)
        return measure_set(self.context, prepared, reference, images, options, classifier, 0)

    def choice(self, prepared: Prepared, arm: Arm, synthetic: Synthetic, reference: Ref, seed: int = 0) -> Choice:
        options = self.experiment.classifier
        return choose(self.context, prepared, arm.mix, synthetic, reference, options, seed)

    def recipe(
        self,
        prepared: Prepared,
        arm: Arm,
        synthetic: Synthetic | None = None,
        chosen: Choice | None = None,
        reference: Ref | None = None,
    ) -> Recipe:
        return mix(self.context, prepared, arm.mix, synthetic, chosen, reference)

    def classifier(self, prepared: Prepared, recipe: Recipe, arm: str, seed: int = 0) -> TrainedClassifier:
        options = self.experiment.classifier
        return train_classifier(self.context, prepared, recipe, options, arm, seed)

    def score(self, prepared: Prepared, classifier: TrainedClassifier, recipe: Recipe) -> Scored:
        return score(self.context, prepared, classifier, recipe)


def make_work(tmp_path: Path, *overrides: str) -> Work:
    """The tiny experiment on one thread of the CPU, with a store in `tmp_path`."""
    cpu = ["runner.device=cpu", "runner.precision=32-true", "classifier.steps=30"]
    experiment = config.build(yaml.safe_load(CONFIG), [*cpu, *overrides])
    context = Context(root=tmp_path / "store", device="cpu", precision="32-true", threads=1)
    return Work(experiment, context)
