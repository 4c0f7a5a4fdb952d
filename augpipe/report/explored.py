"""The folder of `augpipe explore`: a page and PNG files of what a generator's latent space holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from augpipe.core.files import beside
from augpipe.core.images import ImageSet, grid
from augpipe.generators import explore
from augpipe.generators.explore import Strip
from augpipe.generators.protocol import Generator
from augpipe.report.class_folders import folder_names
from augpipe.report.figures import image_strip
from augpipe.report.forms import Origin
from augpipe.report.out import check_new
from augpipe.report.page_templates import TEMPLATES
from augpipe.synthetic import views

PAGE: Final = "explore.html"
CLASSES: Final = 10  # classes that are shown unless they are chosen
SECTION_BYTES: Final = 1_300_000  # of images on the page in each section; the whole page must stay below 8 MB
GAP: Final = 2  # pixels between the images of a PNG file

SAMPLES: Final = (
    "samples",
    "Samples",
    "The rows of a class are the same random draws: the smaller the truncation, the more typical and the less varied.",
)
WALK: Final = (
    "walk",
    "Walks",
    "Each row leads from one random draw to another of the class. Smooth changes show that the generator has learned "
    "what lies between; sudden ones, or two pictures that fade into each other, that it knows single pictures.",
)
BETWEEN: Final = (
    "between-classes",
    "From class to class",
    "Each row leads from an image of one class to the image of another that the same random numbers give.",
)
ARITHMETIC: Final = (
    "arithmetic",
    "Latent arithmetic",
    "Images of the first class plus 0, 0.5, 1 and 1.5 times the difference of the two classes' means. The label, where "
    "the network sees one, stays that of the first class: what changes is what the latents know of the class.",
)
NEAREST: Final = (
    "nearest",
    "Nearest training images",
    "Each sample above the training image of its class that is nearest in thumbnails of 16 pixels, where a picture "
    "that is shifted by a pixel or mirrored is the same one. Pairs that cannot be told apart suggest copies: the "
    "memorisation test of a run says whether there are more than chance gives.",
)


@dataclass(frozen=True)
class Panel:
    """The strips of a class or a pair of classes. file: of their PNG file in the folder."""

    name: str
    file: str
    strips: Sequence[Strip]


@dataclass
class Section:
    """why: why the section, or its note alone if it has panels, is without what it could have; "" if it is not."""

    slug: str
    title: str
    text: str
    why: str = ""
    panels: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Explored:
    """What to show of a generator. train: its training images, or None and why not."""

    generator: Generator
    classes: tuple[str, ...]
    labels: Sequence[int]
    origin: Origin
    train: ImageSet | None
    why_no_train: str

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.origin.seed

    def sections(self) -> Iterator[Section]:
        """The sections of the page, in order."""
        model, pairs = self.generator, explore.pairs_of(self.labels)
        yield self._samples()
        yield self._of_classes(WALK, explore.why_not(model, "not_decoded"), explore.walks)
        too_few = "" if pairs else "it needs two classes"
        why = too_few or explore.why_not_between(model, "not_blended")
        yield self._of_pairs(BETWEEN, why, pairs, explore.between_classes)
        why = too_few or explore.why_not_between(model, "not_shifted")
        yield self._of_pairs(ARITHMETIC, why, pairs, explore.arithmetic)
        yield self._of_classes(NEAREST, self.why_no_train, lambda model, label, seed: self._nearest(label))

    def _samples(self) -> Section:
        why = explore.why_not(self.generator, "not_truncated")
        if not why:
            return self._of_classes(SAMPLES, "", explore.truncations)
        section = self._of_classes(SAMPLES, "", lambda model, label, seed: [self._drawn(label)])
        section.text, section.why = "", f"Not truncated: {why}."
        return section

    def _drawn(self, label: int) -> Strip:
        return Strip("samples", explore.samples(self.generator, label, self.seed))

    def _nearest(self, label: int) -> list[Strip]:
        drawn = self._drawn(label)
        if self.train is None:
            return []
        rows = np.flatnonzero(self.train.labels == label)
        if not len(rows) or not len(drawn.images):
            return []
        real = self.train.images[rows]
        near = rows[views.nearest(drawn.images.numpy(), real)[1][:, 0]]
        return [drawn, Strip("nearest training images", torch.from_numpy(np.array(self.train.images[near])))]

    def _of_classes(
        self, about: tuple[str, str, str], why: str, strips: Callable[[Generator, int, int], Iterable[Strip]]
    ) -> Section:
        section, files = Section(*about, why), folder_names(self.classes)
        for label in [] if why else self.labels:
            shown = [strip for strip in strips(self.generator, label, self.seed) if len(strip.images)]
            if shown:
                section.panels.append(Panel(self.classes[label], f"{section.slug}/{files[label]}.png", shown))
        return section

    def _of_pairs(
        self,
        about: tuple[str, str, str],
        why: str,
        pairs: Sequence[tuple[int, int]],
        strips: Callable[[Generator, tuple[int, int], int], Iterable[Strip]],
    ) -> Section:
        section = Section(*about, why)
        for number, pair in enumerate([] if why else pairs):
            first, second = (self.classes[label] for label in pair)
            shown = list(strips(self.generator, pair, self.seed))
            section.panels.append(Panel(f"{first} → {second}", f"{section.slug}/{number:02d}.png", shown))
        return section


def write_explored(explored: Explored, out: Path) -> list[Section]:
    """Write the page and its PNG files to the new folder `out` atomically; returns the sections."""
    check_new(out)
    sections = list(explored.sections())
    with beside(out) as draft:
        draft.mkdir(parents=True)
        (draft / PAGE).write_text(page(explored, sections), encoding="utf-8")
        for panel in (panel for section in sections for panel in section.panels):
            path = draft / panel.file
            path.parent.mkdir(exist_ok=True)
            images = torch.cat([strip.images for strip in panel.strips]).numpy()
            sheet = grid(images, len(panel.strips[0].images), gap=GAP)
            sheet.save(path, format="PNG", pnginfo=explored.origin.mark)
    return sections


def page(explored: Explored, sections: Sequence[Section]) -> str:
    """The self-contained page; panels beyond SECTION_BYTES of a section are in their PNG files alone."""
    return TEMPLATES.get_template("explore.html").render(
        origin=explored.origin,
        classes=[explored.classes[label] for label in explored.labels],
        more=len(explored.classes) - len(explored.labels),
        sections=[_shown(section) for section in sections],
    )


def _shown(section: Section) -> dict[str, Any]:
    rows, used = list[dict[str, Any]](), 0
    for panel in section.panels:
        strips = [(strip.caption, image_strip(strip.images.numpy())) for strip in panel.strips]
        used += sum(len(strip) for _, strip in strips)
        if rows and used > SECTION_BYTES:
            break
        rows.append({"name": panel.name, "strips": strips})
    return {"section": section, "rows": rows, "left_out": len(section.panels) - len(rows)}
