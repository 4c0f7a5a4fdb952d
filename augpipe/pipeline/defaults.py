"""List and look at the images at a path, and suggest an experiment that suits them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augpipe.core.counts import counts_of
from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.external_listing import naming
from augpipe.data.options import SplitOptions
from augpipe.data.split_check import NAMES
from augpipe.generators.preview import check_size, preview
from augpipe.pipeline.config_values import override
from augpipe.pipeline.experiment import Experiment, Outline, outline_of
from augpipe.pipeline.external import list_external
from augpipe.pipeline.suggestion import FAMILIES, Choice, Counts, Suggestion
from augpipe.pipeline.validate import (
    check_gates,
    check_heads,
    check_images,
    check_listing,
    check_shift,
    check_sizes,
    list_images,
)

if TYPE_CHECKING:
    from augpipe.data.survey import Survey

# Overrides that select the images; applied before the source is read.
_EARLY = tuple(f"{key}{end}" for key in ("source", "image", "split", "min_images") for end in (".", "="))


def suggest(
    path: Path,
    overrides: Sequence[str] = (),
    before: Callable[[Outline], None] = lambda outline: None,
    generators: Sequence[str] = (),
) -> Suggestion:
    """List the images at a path, look at some, and check what any experiment on them needs.

    path: a folder, an archive, a table of files or an .npz. before, generators: as in `validate.load_checked`. Raises
    UserError if the images do not allow a run.
    """
    fixed: dict[str, Any] = {"source": sources.suggest(path)}
    for text in overrides:
        if text.startswith(_EARLY):
            override(fixed, text)
    # Validated first, so that a mistake is reported before any image is read.
    required = {"name": "x", "arms": [{"name": "x"}], "baseline": "x", **fixed}
    outline = outline_of(required, str(path))
    _check_size(outline, overrides)
    listing = list_images(outline)
    check_listing(outline, listing)
    check_heads(outline, listing)
    shift = check_shift(outline, listing)
    images, read = timed_survey(listing, outline.image)
    read_shift = 0.0 if shift is None else timed_survey(shift, outline.image)[1]
    fixed["split"] = outline.split.model_dump()
    counts = expected_counts(listing, outline.split)
    suggestion = Suggestion(
        path, tuple(overrides), fixed, listing, images, counts, read, shift=shift, read_shift=read_shift
    )
    # As in `validate.load_checked`: what needs torch is checked last.
    outline = suggestion.outline(suggestion.standard())
    before(outline)
    check_sizes(outline, generators)
    check_listing(outline, listing)  # again, with the arms and the imbalance
    check_gates(outline, images.spec)
    experiment = suggestion.experiment(suggestion.standard())
    check_images(experiment, images.spec, listing.classes, generators)
    external, read_external = timed_external(outline, listing.classes)
    return replace(suggestion, external=external, read_external=read_external)


def _check_size(outline: Outline, overrides: Sequence[str]) -> None:
    """UserError if a family of the default arms cannot draw the size that the user set, unless arms are changed too."""
    size, changed = outline.image.size, [text.partition("=")[0] for text in overrides]
    if size is None or any(key.startswith(("arms", "generators")) for key in changed):
        return
    for kind in FAMILIES:
        known = preview(kind)
        if known is not None:
            check_size(known.config(kind=kind), size, outline.image.channels)


def timed_survey(listing: sources.Listing, options: ImageOptions) -> tuple[Survey, float]:
    """The survey of a source, and the expected seconds of decoding all of its pictures."""
    from augpipe.data.survey import SURVEYED, survey  # imports Pillow

    start = time.perf_counter()
    images = survey(listing, options)
    seconds = time.perf_counter() - start
    return images, seconds * len(listing) / max(1, min(SURVEYED, len(listing)))


def timed_external(outline: Outline, classes: Sequence[str]) -> tuple[int, float]:
    """Number of images that were made elsewhere, and the expected seconds of decoding all of them."""
    number, seconds = 0, 0.0
    for name, listing in list_external(outline, classes).items():
        with naming(name):
            seconds += timed_survey(listing, outline.image)[1]
        number += len(listing)
    return number, seconds


def for_source(path: Path, overrides: Sequence[str] = ()) -> tuple[Experiment, tuple[Choice, ...]]:
    """Experiment chosen from the images at a path, not fitted to a budget, and the choices."""
    suggestion = suggest(path, overrides)
    numbers = suggestion.standard()
    return suggestion.experiment(numbers), suggestion.choices(numbers)


def expected_counts(listing: sources.Listing, split: SplitOptions) -> Counts:
    """Approximate number of images of each class in each split."""
    fractions = {"val": split.val, "test": split.test}
    if split.kind == "k_fold":
        fractions = dict.fromkeys(fractions, 1 / split.folds)
    counts: dict[str, dict[int, int]] = {}
    if listing.splits is not None and split.kind in ("auto", "official"):
        for name in NAMES:
            labels = listing.labels[listing.splits == name]
            counts[name] = counts_of(labels, len(listing.classes))
        have = dict(counts["train"])
        for name in [name for name in fractions if not sum(counts[name].values())]:  # drawn from train
            counts[name] = {c: round(fractions[name] * n) for c, n in have.items()}
            counts["train"] = {c: n - counts[name][c] for c, n in counts["train"].items()}
    else:
        for name, fraction in {**fractions, "train": 1 - sum(fractions.values())}.items():
            counts[name] = {c: round(fraction * n) for c, n in enumerate(listing.counts().values())}
    return {**counts, "train": {c: max(1, n) for c, n in counts["train"].items()}}
