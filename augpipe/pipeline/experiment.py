"""An experiment: one YAML file, validated completely before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from augpipe.classifiers.options import UNNORMED, ClassifierOptions
from augpipe.comparison.options import Confirm, Metric, Promotion
from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.options import ImageOptions
from augpipe.core.registry import kinds_in
from augpipe.core.schema import KindConfig, Strict, changed, explain
from augpipe.data.imbalance import Imbalance, Natural
from augpipe.data.options import Duplicates, OnBad, Policy, SplitOptions
from augpipe.data.sources import Source, places
from augpipe.generators.options import CLOSED_SET, FAMILIES, AnyGenerator, GeneratorConfig
from augpipe.generators.preview import preview
from augpipe.pipeline.arm import Arm, Name
from augpipe.pipeline.conditions import Conditions, check_attributes, conditions
from augpipe.pipeline.config_values import overridden, read
from augpipe.pipeline.runner import Runner
from augpipe.synthetic.options import GAN_TRAIN, Curation, FidelityOptions, Gate, condition

MOST_SEEDS: Final = 1000  # replicates of a comparison
PUBLISHED_WEIGHTS: Final = "published weights"
RESPLIT: Final = "with resplit each seed has its own test images, so there is no confirm stage"

_Seed = Annotated[int, Field(ge=0)]
_Seeds = Annotated[int, Field(ge=1, le=MOST_SEEDS)] | tuple[_Seed, ...]


def _family(value: Any) -> Any:
    """Mapping of a generator → its options as far as they are known without torch; a config is returned unchanged."""
    if isinstance(value, KindConfig):
        return value
    if not isinstance(value, Mapping) or "kind" not in value:
        raise UserError(f"a generator must be a mapping with a kind; got {value!r}")
    if value["kind"] not in kinds_in(FAMILIES):
        raise unknown("generator", value["kind"], kinds_in(FAMILIES))
    known = preview(value["kind"])
    if known is None:
        return KindConfig(kind=value["kind"])
    try:
        return known.config.model_validate(value)
    except ValidationError as error:
        raise UserError(explain(error)) from None


def _confirm(value: Any) -> Any:
    """`off` or the options of the confirm stage; UserError for anything else."""
    if value in (False, "off"):
        return "off"
    if value in (True, "on"):
        return Confirm()
    if not isinstance(value, Mapping | Confirm):
        raise UserError(f"must be off, or keys and values such as generators: 10; got {value!r}")
    try:
        return Confirm.model_validate(value)
    except ValidationError as error:
        raise UserError(explain(error)) from None


class Outline(Strict):
    """An experiment whose generators are checked as far as that needs no torch, which the files of families import."""

    name: Name
    """Name of the experiment: of its report, its runs in MLflow and its registered models."""

    source: Source
    """Where the images come from: a mapping of `kind` and its options."""

    image: ImageOptions = ImageOptions()
    """How pictures become arrays."""

    imbalance: Imbalance = Natural(profile="natural")
    """How train is thinned out to become imbalanced: a mapping of `profile` and its options."""

    split: SplitOptions = SplitOptions()
    """The division of the images into train, val and test."""

    on_bad: OnBad = "quarantine"
    """Files that cannot be used: `quarantine` lists them and goes on while they are at most 5% of all files; `fail`
    stops at the first."""

    duplicates: Duplicates = "exact"
    """Duplicates across train, val and test. `exact`: equal images are removed from train (if also in val or test) and
    from val (if also in test); `near`: also nearly equal ones; `once`: also duplicates within train, val or test;
    `keep`: none."""

    min_images: int = Field(default=1, ge=1)
    """Classes with fewer images than this are left out, with a message."""

    generators: Mapping[Name, Annotated[KindConfig, BeforeValidator(_family)]] = Field(default_factory=dict)
    """Generators by name; arms refer to these names."""

    fidelity: FidelityOptions = FidelityOptions()
    """How synthetic images are measured, and by which features."""

    curation: Curation = Curation()
    """Which checks synthetic images must pass."""

    gate: tuple[Gate, ...] = ("memorisation.p > 0.01",)
    """Conditions that must hold before a balanced set is published: `FIGURE > NUMBER`, or `each FIGURE > NUMBER` for
    every class (>, >=, <, <=). `augpipe list metrics` prints the figures."""

    classifier: ClassifierOptions = ClassifierOptions()
    """The classifier that every arm trains."""

    arms: tuple[Arm, ...] = Field(min_length=1)
    """The training sets that are compared."""

    seeds: tuple[_Seed, ...] = (0, 1, 2)
    """Seeds: every arm is trained once per seed. A number n, at most 1,000, stands for 0 to n - 1."""

    baseline: str
    """Name of the arm that gains are measured against; it uses no trained generator."""

    metric: Metric = "macro_recall"
    """What arms are compared by: it chooses the finalists on val and is what the verdict is about. `minority_recall`:
    mean recall of the classes with fewer training images than the mean; `worst_class_recall`: lowest recall of a class
    in each training. Training steps of a classifier, the search of a mix and `augpipe refresh` go by macro recall
    whatever it is."""

    confirm: Annotated[Confirm | Literal["off"], BeforeValidator(_confirm)] = Confirm()
    """The second stage of a run, whose result is the verdict: the two best arms by val are trained again with fresh
    seeds. `off`: the run ends with the comparison of all arms, a first look."""

    resplit: bool = False
    """Draw a new split for each seed; the intervals allow for the overlap (Nadeau & Bengio 2003). false: one split."""

    note: str = ""
    """A sentence shown with the verdict, such as that the run is a first look.
    Nothing that is computed depends on it.
    """

    promotion: Promotion = Promotion()
    """When `augpipe refresh` replaces the model in service."""

    runner: Runner = Runner()
    """Where and how tasks run."""

    @field_validator("seeds", mode="before", json_schema_input_type=_Seeds)
    @classmethod
    def _count_or_list(cls, value: Any) -> Any:
        """`3` → (0, 1, 2)."""
        if isinstance(value, bool | str | float | Mapping):
            raise ValueError(f"must be a number or a list of numbers; got {value!r}")
        if not isinstance(value, int):
            return value
        if value < 1:
            raise ValueError(f"at least one seed is needed; got {value}")
        if value > MOST_SEEDS:
            raise ValueError(f"at most {MOST_SEEDS:,} seeds are trained; got {value:,}")
        return tuple(range(value))

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two arms have the name {twice[0]!r}")
        if len(self.seeds) > MOST_SEEDS:
            raise ValueError(f"at most {MOST_SEEDS:,} seeds are trained; got {len(self.seeds):,}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers; got {list(self.seeds)}")
        for arm in self.arms:
            for name in arm.generators:
                if name not in self.generators:
                    raise unknown(f"generator of arm {arm.name!r}:", name, self.generators)
            if len(set(arm.generators)) < len(arm.generators):
                raise ValueError(f"arm {arm.name!r} names a generator twice: {arm.made_by}")
        if self.classifier.kind in UNNORMED and any(arm.mix.norms_apart for arm in self.arms):
            raise ValueError(f"norms_apart needs batch norms; {self.classifier.kind} has none")
        if self.resplit and self.split.kind == "official":
            raise ValueError("resplit draws a split for each seed, but split.kind official has a single one")
        if self.baseline not in names:
            raise unknown("baseline", self.baseline, names)
        check_attributes(self.arms, self.source)
        conditions(self.arms)  # raises for arms that contradict each other
        return self

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        try:
            self.classifier.check_used()
        except ValueError as error:
            raise ValueError(f"classifier.{error}") from None
        for name, generator in self.generators.items():
            try:
                if isinstance(generator, GeneratorConfig):
                    generator.check_used()
            except ValueError as error:
                raise ValueError(f"generators.{name}.{error}") from None
        for gate in self.gate:
            if not self.fidelity.gan_train and condition(gate).figure == GAN_TRAIN:
                raise ValueError(f"the gate {gate!r} needs fidelity.gan_train: true; got false")
        return self

    @property
    def conditions(self) -> Conditions:
        """Generators that are trained on combinations of the class and these attributes."""
        return conditions(self.arms)

    @property
    def unused_generators(self) -> tuple[str, ...]:
        """Names of the generators that no arm uses; a run does not train them."""
        used = {name for arm in self.arms for name in arm.generators}
        return tuple(name for name in self.generators if name not in used)

    @property
    def sources(self) -> tuple[KindConfig, ...]:
        """The source, those of generators whose images were made elsewhere, and those of other sets."""
        starts = (getattr(generator, "start", None) for generator in self.generators.values())
        more = (getattr(one, "source", None) for one in (*self.generators.values(), *starts))
        return (self.source, *(source for source in more if isinstance(source, KindConfig)))

    @property
    def places(self) -> tuple[Path, ...]:
        """Folders that are read from, which must never be written to."""
        return tuple(place for source in self.sources for place in places(source))

    @property
    def policy(self) -> Policy:
        """Options for unusable files, duplicates and small classes."""
        return Policy(on_bad=self.on_bad, duplicates=self.duplicates, min_images=self.min_images)


class Experiment(Outline):
    """All settings of a run; together with code and data they determine its results."""

    generators: Mapping[Name, AnyGenerator] = Field(default_factory=dict)
    """Generators by name, each a mapping of `kind` and the options of its family; arms refer to these names."""

    @model_validator(mode="after")
    def _generators_fit(self) -> Self:
        for name, attributes in self.conditions.items():
            if self.generators[name].external and attributes:
                raise ValueError(
                    f"generator {name!r} reads its images from a source, which has classes alone: mix.fill by "
                    f"{choices(attributes)} needs a generator that is trained"
                )
        for arm in self.arms:
            prefer = arm.mix.prefer
            if prefer and not (self.curates(arm) and prefer.check in self.curation.checks):
                offer = "these are not curated"
                if self.curates(arm):
                    offer = f"choose from {choices(self.curation.checks)}"
                raise ValueError(
                    f"arm {arm.name!r} prefers by {prefer.check!r}, a check that is not applied to its images; {offer}"
                )
        if self.generative()[self.baseline]:
            others = [name for name, generative in self.generative().items() if not generative]
            raise ValueError(
                f"the baseline {self.baseline!r} uses a trained generator; gains are measured against an arm "
                f"without one; choose from {choices(others)}"
            )
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        for name, generator in self.generators.items():
            if generator.kimg > 0 and generator.batch % self.runner.devices:
                raise ValueError(
                    f"runner.devices, {self.runner.devices}, must divide the batch of generator {name!r}, "
                    f"{generator.batch}"
                )
        return self

    def generative(self) -> dict[str, bool]:
        """Whether each arm uses a trained generator."""
        return {arm.name: any(self.generators[name].generative for name in arm.generators) for arm in self.arms}

    def knowledge(self) -> dict[str, str]:
        """What each arm's classifier learns from besides train; `closed set` is nothing."""
        start = [PUBLISHED_WEIGHTS] if self.classifier.pretrained else []
        more = {
            arm.name: sorted({k for name in arm.generators for k in self.generators[name].learns_from} - {CLOSED_SET})
            for arm in self.arms
        }
        return {name: ", ".join([*start, *of]) or CLOSED_SET for name, of in more.items()}

    def notes(self) -> tuple[str, ...]:
        """What a run does not use because of its arms, and what it cannot say because of its seeds, a line each."""
        from augpipe.comparison.bootstrap import LEAST_SEEDS  # imported late: it imports SciPy

        n = len(self.seeds)
        if self.resplit and self.confirm != "off":
            return (*self._unused(), f"{RESPLIT}: the run ends with a first look")
        if len(self.arms) == 1 or n >= LEAST_SEEDS or self.confirm != "off":
            return self._unused()
        few = f"no verdict is possible: at least {LEAST_SEEDS} seeds are needed, and seeds has {n}"
        return (*self._unused(), few)

    def _unused(self) -> tuple[str, ...]:
        lines = [f"no arm uses the generator {n!r}, so it is not trained" for n in self.unused_generators]
        if not any(self.curates(arm) for arm in self.arms):
            options = [f"curation.{name}" for name in changed(self.curation)]
            lines += [f"no arm has curated images, so {name} has no effect" for name in options]
        if not any(arm.generators for arm in self.arms):
            options = [f"fidelity.{name}" for name in changed(self.fidelity)]
            lines += [f"no arm has a generator, so {name} has no effect" for name in options]
        return tuple(lines)

    def curates(self, arm: Arm, generator: str | None = None) -> bool:
        """Whether the checks are applied to the arm's synthetic images, or to those of one of its generators."""
        wanted = arm.mix.curated
        names = arm.generators if generator is None else (generator,)
        return any(self.generators[name].generative if wanted is None else wanted for name in names)


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with `a.b=value` overrides applied."""
    values, where = read(path, overrides)
    return build(values, where=where)


def build(values: Any, overrides: Sequence[str] = (), where: str = "the config") -> Experiment:
    """Python values → Experiment; UserError with a one-line message."""
    values = overridden(values, overrides, where)
    outline_of(values, where)
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None


def outline_of(values: Any, where: str = "the config", overrides: Sequence[str] = ()) -> Outline:
    """Python values → Outline, without torch; UserError with a one-line message."""
    values = overridden(values, overrides, where)
    try:
        return Outline.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with all defaults; `build` restores an equal experiment."""
    text: str = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text
