"""The folder of `augpipe explore`: a page that is escaped and small, and the nearest training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from augpipe.core import marks
from augpipe.core.images import ImageSet
from augpipe.report.explored import Explored, write_explored
from augpipe.report.forms import Origin

ORIGIN = Origin("<b>gan", "ab" * 32, 7)


class Repeating:
    """Draws the images of a set again, shifted by a pixel."""

    def __init__(self, train: ImageSet) -> None:
        self.train = train

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        rows = np.flatnonzero(self.train.labels == int(labels[0]))[: len(labels)]
        return torch.from_numpy(np.roll(self.train.images[rows], 1, axis=3))


def test_a_page_is_escaped_and_shows_the_training_images_nearest_to_samples(make_shapes, tmp_path: Path) -> None:
    train = make_shapes((9, 9), size=16, channels=3)
    train = ImageSet(train.images, train.labels, ("<i>a", "b/c"), train.table)
    explored = Explored(Repeating(train), train.classes, [1, 0], ORIGIN, train, "")  # type: ignore[arg-type]
    sections = {section.slug: section for section in write_explored(explored, tmp_path / "out")}
    left_out = {slug: section.why for slug, section in sections.items() if not section.panels}
    assert left_out == dict.fromkeys(("walk", "between-classes", "arithmetic"), "it has no latents")
    drawn, near = sections["nearest"].panels[0].strips
    rows = np.flatnonzero(train.labels == 1)[:8]
    assert np.array_equal(near.images.numpy(), train.images[rows]) and len(drawn.images) == 8
    text = (tmp_path / "out" / "explore.html").read_text()
    assert "<i>a" not in text and "&lt;i&gt;a" in text and "<b>gan" not in text
    assert "Left out: it has no latents." in text and "Not truncated: it has no latents." in text
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.*"))
    assert files == ["explore.html", *sorted(panel.file for s in sections.values() for panel in s.panels)]
    with Image.open(tmp_path / "out" / "nearest" / "b_c.png") as sheet:
        assert marks.is_synthetic(sheet.info) and sheet.size == (8 * 16 + 7 * 2, 2 * 16 + 2)


def test_a_page_of_many_large_images_stays_below_8_mb(tmp_path: Path) -> None:
    class Noise:
        def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
            return torch.randint(0, 256, (len(labels), 3, 64, 64), generator=rng, dtype=torch.uint8)

    names = tuple(f"c{c}" for c in range(16))
    explored = Explored(Noise(), names, range(16), ORIGIN, None, "they are gone")  # type: ignore[arg-type]
    write_explored(explored, tmp_path / "out")
    text = (tmp_path / "out" / "explore.html").read_text()
    # A section holds a fifth of the page; panels that do not fit are counted.
    assert len(text) < 8_000_000 / 5 and "Left out: they are gone." in text and "more in the folder samples" in text
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 16
