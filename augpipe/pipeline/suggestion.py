"""The arms that were measured to be strongest, for the images of a source, and the numbers of their experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from augpipe.classifiers.options import WITH_WIDTH
from augpipe.classifiers.plans import plan
from augpipe.data import sources
from augpipe.data.imbalance import imbalance_ratio
from augpipe.pipeline.budget import (
    LEAST_REPLICATES,
    MOST_REPLICATES,
    MOST_SEEDS,
    STANDARD_REPLICATES,
    STANDARD_SEEDS,
    Numbers,
)
from augpipe.pipeline.experiment import Experiment, Outline, build, outline_of

if TYPE_CHECKING:
    from augpipe.data.survey import Survey

EPOCHS = 30  # passes over train of a classifier, within STEPS
STEPS = (300, 3000)
PASSES = 60  # passes over train of a generator, within KIMG
KIMG = (60.0, 200.0)
BALANCED = 1.5  # imbalance ratio below which filling up to the largest class adds hardly any images
MOST = 20_000  # images of all classes that SMOTE draws; training never uses more at the fractions chosen here
# Of images from a trained generator. A class beyond the largest one by a tenth has some too, so that no class is
# recognised by having them; a tenth of what is drawn of each class: docs/results/ideas.md.
BEYOND, MOST_OF_CLASS, SHARE = 1.1, 400, 0.1
FAMILIES: Final = ("cgan", "smote")  # of the arms
POLICY: Final = "elastic"  # unless val shows another one to be better; mirrors and turns: see `choose_transform`
# Images of a class; with fewer, train may have a single one, and SMOTE needs a neighbour.
SMOTE_LEAST = 5
Counts = Mapping[str, dict[int, int]]


@dataclass(frozen=True)
class Choice:
    """Value chosen for a key of the config, and the reason."""

    key: str
    value: str
    why: str


class Transform(NamedTuple):
    """Classical augmentation of the arms called classic; why: "" where it was not tried on the images."""

    name: str = POLICY
    why: str = ""


NOT_TRIED: Final = Transform()


@dataclass(frozen=True)
class Suggestion:
    """The images of a source, and the experiments that suit them.

    fixed: what the user set of the source, the images and the split. read: seconds to decode all pictures, expected.
    """

    path: Path
    overrides: tuple[str, ...]
    fixed: Mapping[str, Any]
    listing: sources.Listing
    images: Survey
    counts: Counts
    read: float
    transform: Transform = NOT_TRIED
    shift: sources.Listing | None = None  # the second test set
    read_shift: float = 0.0
    external: int = 0  # images that were made elsewhere
    read_external: float = 0.0

    @property
    def smote(self) -> bool:
        """Whether every class has enough images for SMOTE."""
        return min(self.images.counts.values()) >= SMOTE_LEAST

    def wish(self) -> Numbers:
        """The numbers where time is no matter."""
        n = sum(self.counts["train"].values())
        return Numbers(
            seeds=MOST_SEEDS,
            gan_train=True,
            kimg=float(f"{_between(PASSES * n / 1000, *KIMG):.3g}"),
            steps=int(_between(round(EPOCHS * n / 64), *STEPS)),
            size=self.images.spec.size,
            arms=tuple(arm["name"] for arm in self._arms()),
            replicates=MOST_REPLICATES,
        )

    def standard(self) -> Numbers:
        """The numbers where nothing was timed."""
        return replace(self.wish(), seeds=STANDARD_SEEDS, replicates=STANDARD_REPLICATES)

    def needed(self) -> set[str]:
        """Arms that an override names: they stay."""
        return set(_named_arms(self.overrides, self.wish().arms))

    def experiment(self, numbers: Numbers, note: str = "") -> Experiment:
        """The experiment with these numbers; values that the user set take precedence."""
        return build(self._with_fixed(numbers, note), self.overrides, where=str(self.path))

    def outline(self, numbers: Numbers) -> Outline:
        """The same, checked as far as that needs no torch."""
        return outline_of(self._with_fixed(numbers, ""), str(self.path), self.overrides)

    def _with_fixed(self, numbers: Numbers, note: str) -> dict[str, Any]:
        values = self._values(numbers, note)
        values |= {
            key: {**values.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in self.fixed.items()
        }
        kinds = [t.partition("=")[2] for t in self.overrides if t.startswith("classifier.kind=")]
        if kinds and kinds[-1] not in WITH_WIDTH:
            del values["classifier"]["width"]  # torchvision's architectures have none
        if not numbers.replicates and any(t.startswith("confirm.") for t in self.overrides):
            # What the user set needs the stage.
            values["confirm"] = self._confirm(LEAST_REPLICATES)
        return values

    def choices(self, numbers: Numbers) -> tuple[Choice, ...]:
        """What was chosen and why, without what the user set."""
        keys = [text.partition("=")[0] for text in self.overrides]
        chosen = self._choices(numbers, self.wish())
        return tuple(c for c in chosen if not any(_about(key, c.key) for key in keys))

    def _values(self, numbers: Numbers, note: str) -> dict[str, Any]:
        arms = [arm for arm in self._arms() if arm["name"] in numbers.arms]
        used = {arm.get("generator") for arm in arms}
        # Narrower at more pixels, as for the faces of configs/orl-64.yaml.
        width = {"width": 12} if numbers.size > 32 else {}
        generators: dict[str, Any] = {
            "cgan": {"kind": "cgan", "kimg": numbers.kimg, "ticks": 4, **width},
            "smote": {"kind": "smote"},
        }
        return {
            "name": name_of(self.path),
            "note": note,
            "image": {"size": numbers.size, "channels": self.images.spec.channels},
            "split": self.fixed.get("split", {}),
            "generators": {name: generators[name] for name in generators if name in used},
            "fidelity": {"images": 100, "gan_train": numbers.gan_train},
            "classifier": {"width": 0.5, "steps": numbers.steps},
            "arms": arms,
            "baseline": "real",
            "seeds": numbers.seeds,
            "confirm": self._confirm(numbers.replicates),
        }

    @staticmethod
    def _confirm(replicates: int) -> Any:
        # One classifier: on small images it takes nearly as long as a generator.
        return {"generators": replicates, "classifiers": 1} if replicates else "off"

    def _arms(self) -> list[dict[str, Any]]:
        train, classes = self.counts["train"], tuple(self.images.counts)
        balanced = {"sampler": "balanced"}
        classic = {**balanced, "transform": self.transform.name}
        synthetic = {"fill": _fill_all(train, classes), "share": SHARE}
        arms: list[dict[str, Any]] = [
            {"name": "real"},
            {"name": "balanced", "mix": balanced},
            {"name": "classic", "mix": classic},
            {"name": "mixup+classic", "mix": {**classic, "blend": "mixup"}},
            {"name": "smote", "generator": "smote", "mix": {"fill": _fill(train, classes)}},
            {"name": "cgan", "generator": "cgan", "mix": {**balanced, **synthetic}},
            {"name": "cgan+classic", "generator": "cgan", "mix": {**classic, **synthetic}},
        ]
        return [arm for arm in arms if self.smote or arm["name"] != "smote"]

    def _choices(self, numbers: Numbers, wish: Numbers) -> Iterator[Choice]:
        train, images = self.counts["train"], self.images

        def lowered(now: float, then: float) -> str:
            return f", lowered from {then:g} to fit the budget" if now < then else ""

        yield Choice("image.size", str(numbers.size), f"{images.about}{lowered(numbers.size, wish.size)}")
        yield Choice("image.channels", str(images.spec.channels), images.about)
        passes = 64 * numbers.steps / sum(train.values())
        why = f"{passes:.0f} passes of {sum(train.values()):,} training images"
        yield Choice("classifier.steps", str(numbers.steps), f"{why}{lowered(numbers.steps, wish.steps)}")
        why = f"{1000 * numbers.kimg / sum(train.values()):.0f} passes"
        yield Choice("generators.cgan.kimg", f"{numbers.kimg:g}", f"{why}{lowered(numbers.kimg, wish.kimg)}")
        yield Choice(
            "fill",
            f"up to {BEYOND - 1:.0%} beyond the largest class, at most {MOST_OF_CLASS} of a class",
            f"imbalance ratio {imbalance_ratio(train):.1f}; a share of {SHARE:g} in every class",
        )
        missing = [name for name in wish.arms if name not in numbers.arms]
        why = f"without {', '.join(missing)} to fit the budget" if missing else "all"
        if not self.smote:
            why += f"; no smote: the smallest class has {min(images.counts.values())} images"
        yield Choice("arms", ", ".join(numbers.arms), why)
        if self.transform.why:
            yield Choice("arms.classic.mix.transform", self.transform.name, self.transform.why)
        yield Choice("seeds", str(numbers.seeds), _about_seeds(numbers.seeds))
        yield Choice("confirm.generators", str(numbers.replicates or "off"), _about_confirm(numbers.replicates))


def _about_seeds(seeds: int) -> str:
    why = "of each arm, to choose the two that are trained again"
    return f"{why}; fewer to fit the budget" if seeds < STANDARD_SEEDS else why


def _about_confirm(replicates: int) -> str:
    if not replicates:
        return "to fit the budget: a first look, not confirmed"
    return "fresh trainings of these two at most; the stage ends when its result is clear"


def _about(override_key: str, key: str) -> bool:
    return override_key == key or override_key.startswith(f"{key}.") or key.startswith(f"{override_key}.")


def _named_arms(overrides: Sequence[str], arms: Sequence[str]) -> Iterator[str]:
    """Arms that overrides name; all of them if one is named by its position."""
    for text in overrides:
        key, _, value = text.partition("=")
        head, _, rest = key.partition(".")
        name = rest.partition(".")[0]
        if head == "arms" and name.isdecimal():
            yield from arms
        elif head in ("arms", "generators"):
            yield name
        elif head == "baseline":
            yield value


def name_of(path: Path) -> str:
    """Name for runs and files, derived from the name of the folder or file."""
    resolved = path.resolve()
    stem = resolved.name if resolved.is_dir() else re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", resolved.name)
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", stem)[:64]
    return plain.strip("-.+_") or "pictures"


def _fill(train: dict[int, int], classes: tuple[str, ...]) -> Any:
    """`auto` (up to the largest class), or counts if the classes are balanced
    or `auto` exceeds MOST images in total.
    """
    if imbalance_ratio(train) < BALANCED:
        return min(max(1, min(train.values())), max(1, MOST // len(train)))
    counts = plan("auto", train, classes)
    if sum(counts.values()) <= MOST:
        return "auto"
    cap = max(1, MOST // len(counts))
    return {classes[c]: min(n, cap) for c, n in counts.items()}


def _fill_all(train: dict[int, int], classes: tuple[str, ...]) -> dict[str, int]:
    """Images of every class, the largest too: up to BEYOND times the largest class, at most MOST_OF_CLASS."""
    goal = round(BEYOND * max(train.values())) + 1
    return {classes[c]: min(MOST_OF_CLASS, goal - n) for c, n in train.items()}


def _between(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
