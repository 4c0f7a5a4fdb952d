"""An experiment: one YAML file, checked as a whole before any work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from augpipe.classifiers.mixing import Mix
from augpipe.classifiers.models import UNNORMED, ClassifierOptions
from augpipe.comparison.promotion import Promotion
from augpipe.core.device import Device, Precision
from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.images import ImageOptions
from augpipe.core.schema import Strict, explain
from augpipe.data.imbalance import Imbalance, Natural
from augpipe.data.quarantine import Duplicates, OnBad, Policy
from augpipe.data.sources import Source
from augpipe.data.split import SplitOptions
from augpipe.generators.families import AnyGenerator
from augpipe.synthetic.curation import Curation
from augpipe.synthetic.fidelity.options import FidelityOptions
from augpipe.synthetic.gates import Gate


def _plain(name: str) -> str:
    # Names of arms and generators become names of files, runs and columns.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,63}", name):
        raise ValueError(
            f"the name {name!r} must be 1 to 64 letters, digits, spaces or _ . + - and begin with a letter or digit"
        )
    return name


# The pattern is for forms; the validator says it in words.
Name = Annotated[
    str,
    AfterValidator(_plain),
    Field(json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9 _.+-]{0,63}$"}),
]


class Arm(Strict):
    """One way of making a training set; baselines are arms too.

    generator: one, or several whose images are pooled, each making an even part of every class's fill.
    """

    name: Name
    generator: str | Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    mix: Mix = Mix()

    @property
    def generators(self) -> tuple[str, ...]:
        """None, one or several."""
        if self.generator is None:
            return ()
        return (self.generator,) if isinstance(self.generator, str) else self.generator

    @property
    def made_by(self) -> str:
        """The generators' names, to be told."""
        return " + ".join(self.generators)

    @model_validator(mode="after")
    def _synthetic_only_where_made(self) -> Arm:
        plain, share = Mix(), self.mix.share
        nothing = share == 0 or (isinstance(share, Mapping) and not any(share.values()))
        if self.generator is not None and nothing and self.mix.beside is None:
            raise ValueError(
                f"mix.share of arm {self.name!r} shows none of its generator's images; give one above 0, or leave the "
                "generator out"
            )
        for key in (
            "share",
            "until",
            "synthetic_weight",
            "norms_apart",
            "prefer",
            "soft",
            "beside",
            "fill",
            "origin_flag",
            "curated",
        ):
            if self.generator is None and getattr(self.mix, key) != getattr(plain, key):
                raise ValueError(
                    f"mix.{key} of arm {self.name!r} is of synthetic images, and it has no generator"
                )
        return self


class Runner(Strict):
    """Where tasks run: `workers` processes (auto: one a core, one a GPU), each with its share of threads.

    kind: `dask` hands them to the workers of the Dask scheduler at `address`, which see AUGPIPE_HOME at the same path (a
    shared folder). threads: of a task; auto shares the cores out among processes, and is 1 on a Dask worker. devices:
    GPUs that one generator is trained on (with device: cpu, processes), each with its part of every batch and its share of
    the threads. timeout: seconds that one task may take, a generator's training among them; then it fails, and with it
    its arms.
    """

    kind: Literal["processes", "dask"] = "processes"
    address: str | None = None
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    devices: int = Field(default=1, ge=1, le=64)
    timeout: float = Field(default=86400.0, gt=0)

    @model_validator(mode="after")
    def _address_of_a_scheduler(self) -> Runner:
        if self.kind == "dask" and not re.fullmatch(
            r"(tcp|tls|ws|wss)://[^/\s]+:\d+/?", self.address or ""
        ):
            raise ValueError(
                f"runner.kind is dask, and its scheduler's address is as in tcp://127.0.0.1:8786; got {self.address!r}"
            )
        if self.kind != "dask" and self.address is not None:
            raise ValueError("runner.address is of a Dask scheduler; set runner.kind: dask")
        if self.kind == "dask" and self.devices > 1:
            raise ValueError(
                f"runner.devices is {self.devices}, and a Dask worker has one; set it to 1, or runner.kind: processes"
            )
        return self


class Experiment(Strict):
    """All that a run follows from, with code and data.

    on_bad, duplicates, min_images: see `quarantine.Policy`. gate: what must hold of a balanced set before it
    is published (see `gates`). resplit: each seed draws a split of its own, and the comparison allows for their overlap
    (see `resampled`); otherwise the split stays what `split.seed` makes of it. promotion: when a refreshed model takes the
    place of the one in service.
    """

    name: Name
    source: Source
    image: ImageOptions = ImageOptions()
    imbalance: Imbalance = Natural(profile="natural")
    split: SplitOptions = SplitOptions()
    on_bad: OnBad = "quarantine"
    duplicates: Duplicates = "exact"
    min_images: int = Field(default=1, ge=1)
    generators: Mapping[Name, AnyGenerator] = Field(default_factory=dict)
    fidelity: FidelityOptions = FidelityOptions()
    curation: Curation = Curation()
    gate: tuple[Gate, ...] = ("memorisation.p > 0.01",)
    classifier: ClassifierOptions = ClassifierOptions()
    arms: tuple[Arm, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2)
    baseline: str
    resplit: bool = False
    promotion: Promotion = Promotion()
    runner: Runner = Runner()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, value: Any) -> Any:
        """`3` → (0, 1, 2)."""
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        if value < 1:
            raise ValueError(f"at least one seed is needed; got {value}")
        return tuple(range(value))

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two arms have the name {twice[0]!r}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers; got {list(self.seeds)}")
        for arm in self.arms:
            for name in arm.generators:
                if name not in self.generators:
                    raise unknown(f"generator of arm {arm.name!r}:", name, self.generators)
            if len(set(arm.generators)) < len(arm.generators):
                raise ValueError(f"arm {arm.name!r} names a generator twice: {arm.made_by}")
            prefer = arm.mix.prefer
            if prefer and not (self.curates(arm) and prefer.check in self.curation.checks):
                raise ValueError(
                    f"arm {arm.name!r} prefers by {prefer.check!r}, a check that its images do not pass; have "
                    f"{choices(self.curation.checks) if self.curates(arm) else 'none: they are not curated'}"
                )
        if self.classifier.kind in UNNORMED and any(arm.mix.norms_apart for arm in self.arms):
            raise ValueError(f"norms_apart is of batch norms, and {self.classifier.kind} has none")
        if self.resplit and self.split.kind == "official":
            raise ValueError(
                "resplit draws a split for each seed, and split.kind is official, which is but one"
            )
        if self.baseline not in names:
            raise unknown("baseline", self.baseline, names)
        if self.generative()[self.baseline]:
            plain = [name for name, made in self.generative().items() if not made]
            raise ValueError(
                f"the baseline {self.baseline!r} uses a trained generator; a gain is measured over an arm "
                f"without one; have {choices(plain)}"
            )
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> Experiment:
        for name, made in self.generators.items():
            if made.kimg > 0 and made.batch % self.runner.devices:
                raise ValueError(
                    f"runner.devices, {self.runner.devices}, must divide the batch of generator {name!r}, {made.batch}"
                )
        return self

    @property
    def policy(self) -> Policy:
        """What happens to bad files, duplicates and tiny classes."""
        return Policy(on_bad=self.on_bad, duplicates=self.duplicates, min_images=self.min_images)

    def generative(self) -> dict[str, bool]:
        """Whether each arm uses a trained generator."""
        return {
            arm.name: any(self.generators[name].generative for name in arm.generators)
            for arm in self.arms
        }

    def curates(self, arm: Arm, generator: str | None = None) -> bool:
        """Whether the arm's synthetic images, or those of one of its generators, pass the checks."""
        wanted = arm.mix.curated
        names = arm.generators if generator is None else (generator,)
        return any(self.generators[name].generative if wanted is None else wanted for name in names)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice: the first one would vanish without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise UserError(f"key {key!r} is given twice (line {key_node.start_mark.line + 1})")
            seen.add(key if isinstance(key, str | int) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Any:
    """Text → plain values; UserError names the place of a mistake."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {' '.join(str(error).split())}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with `a.b=value` overrides applied."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {path}: {error}") from None
    return build(read_yaml(text, f"the config {path}"), overrides, where=f"the config {path}")


def build(values: Any, overrides: Sequence[str] = (), where: str = "the config") -> Experiment:
    """Plain values → Experiment; UserError in one line."""
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold keys and values; got {type(values).__name__}")
    for one in overrides:
        override(values, one)
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from None


def override(values: dict[str, Any], text: str) -> None:
    """Apply `a.b=value`; a step into a list is a position, or the `name` of one of its entries."""
    path, separator, given = text.partition("=")
    if not separator or not path:
        raise UserError(f"--set takes key.key=value; got {text!r}")
    at: Any = values
    steps = path.split(".")
    for step in steps[:-1]:
        at = _into(at, step, text)
    value = _value(given, text)
    if isinstance(at, dict):
        at[steps[-1]] = value
    elif isinstance(at, list) and steps[-1].isdecimal() and int(steps[-1]) < len(at):
        at[int(steps[-1])] = value
    else:
        raise UserError(f"--set {text}: {'.'.join(steps[:-1])} has no keys")


def _value(given: str, text: str) -> Any:
    """YAML; what only looks like it, a layout such as {label}/*, is text."""
    try:
        return read_yaml(given, f"the value of --set {text}")
    except UserError:
        if given[:1] in "*{" and given[-1:] not in "}]":
            return given
        raise


def _into(at: Any, step: str, text: str) -> Any:
    if isinstance(at, list):
        names = [str(item.get("name", i)) for i, item in enumerate(at) if isinstance(item, dict)]
        for position, item in enumerate(at):
            if step == str(position) or (isinstance(item, dict) and item.get("name") == step):
                return item
        raise UserError(f"--set {text}: no entry {step!r}; have {choices(names)}")
    if isinstance(at, dict):
        inner = at.setdefault(step, {})
        if inner is None:
            inner = at[step] = {}
        if isinstance(inner, dict | list):
            return inner
    raise UserError(f"--set {text}: {step!r} has no keys")


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every default spelled out; `build` reads it back to an equal one."""
    text: str = yaml.safe_dump(
        experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True
    )
    return text
