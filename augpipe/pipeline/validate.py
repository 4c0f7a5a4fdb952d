"""Check an experiment against its data before anything is trained: class names, groups, counts, the images' shape.

A run and an inspection make the same checks. Nothing here is imported that takes seconds, until the images' shape is
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from augpipe.core.counts import label_of, require_classes
from augpipe.core.errors import UserError, choices
from augpipe.core.image_spec import ImageSpec
from augpipe.data import sources
from augpipe.data.heads import unreadable_heads
from augpipe.data.listing_check import (
    check_filled,
    check_names,
    check_official,
    drop_small_classes,
    require_large_classes,
)
from augpipe.data.quarantine import check_any, check_bad
from augpipe.data.shift_listing import naming_shift, shift_listing
from augpipe.data.split_check import kind_of, most_train
from augpipe.generators.preview import check_size
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.config_values import read
from augpipe.pipeline.experiment import Experiment, Outline, build, outline_of
from augpipe.pipeline.external import check_external
from augpipe.synthetic.options import condition, pixel_obstacle

if TYPE_CHECKING:
    from augpipe.data.inspect import Inspection
    from augpipe.data.sources import Listing

Check = Callable[[Outline, "Listing"], None]


def load_checked(
    path: Path,
    overrides: Sequence[str] = (),
    before: Callable[[Outline], None] = lambda outline: None,
    generators: Sequence[str] = (),
    after: Callable[[Outline], None] = lambda outline: None,
) -> Experiment:
    """The experiment in a YAML file, checked against its data; UserError for the first mistake.

    before: checks that need no data, made before the source is listed. generators: names of generators to check in
    addition to those of the arms. after: checks that come after those of the data. What needs torch is checked last.
    """
    values, where = read(path, overrides)
    outline = outline_of(values, where)
    before(outline)
    check_sizes(outline, generators)
    listing = list_images(outline)
    check_listing(outline, listing)
    check_heads(outline, listing)
    check_shift(outline, listing)
    check_external(outline, listing)
    after(outline)
    spec = _spec(outline, listing)
    check_gates(outline, spec)
    experiment = build(values, where=where)
    check_images(experiment, spec, listing.classes, generators)
    return experiment


def list_images(outline: Outline) -> Listing:
    """The images of the source, without classes that are too small."""
    listing = sources.listing(outline.source)
    if outline.min_images > 1:
        require_large_classes(listing, outline.min_images)
    return drop_small_classes(listing, outline.min_images)


def list_shift(outline: Outline, classes: Sequence[str]) -> Listing | None:
    """The images of the second test set; None without one. classes: of the source. UserError if its classes differ."""
    if outline.resplit and getattr(outline.source, "shift", None) is not None:
        raise UserError(
            "source.shift is scored beside one test set, and resplit draws one for each seed: set resplit: false"
        )
    return shift_listing(outline.source, classes, outline.min_images)


def check_shift(outline: Outline, listing: Listing) -> Listing | None:
    """The images of the second test set, if there is one. UserError for the first mistake that labels and first bytes
    show. listing: of the source."""
    shift = list_shift(outline, listing.classes)
    if shift is not None:
        with naming_shift():
            check_heads(outline, shift)
    return shift


def check_listing(outline: Outline, listing: Listing) -> None:
    """UserError for the first mistake that labels, groups and counts show; no picture is read.

    Refuses nothing that could be run after the pictures are read.
    """
    for error in _errors((_check_files, *DATA, *SETTINGS), outline, listing):
        raise error


def check_sizes(outline: Outline, generators: Sequence[str] = ()) -> None:
    """UserError if a generator does not support the configured image size; imports no torch.

    generators: names of generators to check in addition to those of the arms.
    """
    if outline.image.size is None:
        return
    used = {name for arm in outline.arms for name in arm.generators}
    for name in sorted({*used, *generators}):
        check_size(outline.generators[name], outline.image.size, outline.image.channels)


def check_heads(outline: Outline, listing: Listing) -> None:
    """UserError if more files than allowed are no pictures by their first bytes.

    Reads the heads of a sample of the files, of all if they are few; decodes nothing.
    """
    check_bad((*listing.bad, *unreadable_heads(listing)), len(listing) + len(listing.bad), outline.policy)


def check_images(
    experiment: Experiment, spec: ImageSpec, classes: tuple[str, ...], generators: Sequence[str] = ()
) -> None:
    """UserError if a generator, the classifier, a transform or the figure of a gate does not support images of this
    shape.

    Nor may the device be missing, except that of a Dask worker.

    generators: names of generators to check in addition to those of the arms.
    """
    from augpipe.classifiers import models as classifiers  # imports torch
    from augpipe.core.device import pick_device
    from augpipe.generators import families
    from augpipe.generators.protocol import Problem

    check_gates(experiment, spec)
    used = {name for arm in experiment.arms for name in arm.generators}
    for name in sorted({*used, *generators}):
        families.check(experiment.generators[name], Problem(spec, classes))
    if experiment.runner.kind != "dask":
        pick_device(experiment.runner.device)
    classifiers.check(experiment.classifier, spec.channels, len(classes), spec.size)
    for transform in (arm.mix.transform for arm in experiment.arms):
        if isinstance(transform, Mapping):
            from augpipe.classifiers.transforms import check_images  # imports albumentations

            check_images(transform, spec.channels, spec.size)


def check_gates(outline: Outline, spec: ImageSpec) -> None:
    """UserError if the figure of a gate has no value for any images of this size; imports no torch."""
    for gate in outline.gate:
        figure = condition(gate).figure
        obstacle = pixel_obstacle(figure, spec.size)
        if obstacle:
            raise UserError(f"the gate {gate!r} cannot hold: {figure} {obstacle}")


def mistakes(experiment: Experiment, inspection: Inspection) -> list[str]:
    """What would stop a run of the experiment, by the checks that the run makes;
    beyond what `inspect` reports itself.
    """
    from augpipe.data.intake import check_window  # imports torch

    listing, spec = inspection.intake.listing, inspection.survey.spec
    errors = list(_errors(DATA, experiment, listing))[:1]  # others may only be its consequences
    thinning = list(_errors((_check_imbalance,), experiment, listing)) or list(
        _errors((lambda outline, listing: _check_thinning(outline, inspection),), experiment, listing)
    )
    pictures: tuple[Check, ...] = (
        lambda outline, listing: check_images(experiment, spec, listing.classes),
        lambda outline, listing: check_window(inspection.intake, outline.image),
    )
    if not listing.classes:
        pictures = ()  # nothing to build a classifier for
    errors += [*thinning, *_errors((_check_arms, check_external, *pictures), experiment, listing)]
    return list(dict.fromkeys(str(error) for error in errors))


def _errors(checks: Sequence[Check], outline: Outline, listing: Listing) -> Iterator[UserError]:
    for check in checks:
        try:
            check(outline, listing)
        except UserError as error:
            yield error


def _spec(outline: Outline, listing: Listing) -> ImageSpec:
    """Shape of the images: as configured, else chosen from a sample of the pictures."""
    size, channels = outline.image.size, outline.image.channels
    if size is not None and channels is not None:
        return ImageSpec(size, channels)
    from augpipe.data.survey import survey  # imports Pillow

    return survey(listing, outline.image).spec


def _check_files(outline: Outline, listing: Listing) -> None:
    if listing.lost:
        raise UserError(f"cannot read {listing.lost[0]}")
    check_any(listing)
    check_bad(listing.bad, len(listing) + len(listing.bad), outline.policy)


def _check_classes(outline: Outline, listing: Listing) -> None:
    require_classes(listing.classes)
    check_names(listing.classes)
    check_filled(listing.labels, listing.classes, listing.bad, outline.min_images)


def _check_split(outline: Outline, listing: Listing) -> None:
    official = kind_of(outline.split, listing.groups, listing.splits) == "official"
    if outline.resplit and official:
        raise UserError(
            "resplit draws a split for each seed, but the source has an official one: set split.kind to stratified, "
            "grouped or k_fold"
        )
    check_official(listing, outline.split)
    _most_train(outline, listing)


def _check_attributes(outline: Outline, listing: Listing) -> None:
    if listing.attributes and outline.resplit:
        raise UserError(
            f"source.attributes, {choices(listing.attributes)}, need one set of test images, and resplit draws one "
            "for each seed: set resplit: false"
        )
    sources.check_attributes(listing, "the source")


def _most_train(outline: Outline, listing: Listing) -> dict[int, int]:
    return most_train(listing.labels, listing.classes, outline.split, groups=listing.groups, official=listing.splits)


def _check_imbalance(outline: Outline, listing: Listing) -> None:
    """UserError if the imbalance profile names an unknown class, or needs more images than train can have."""
    try:
        needed = outline.imbalance.least(listing.classes)
    except UserError as error:
        raise UserError(f"imbalance: {error}") from None
    if not any(n > 1 for n in needed.values()):
        return
    try:
        most = _most_train(outline, listing)
    except UserError:  # reported by _check_split
        return
    have = listing.counts()
    for label, n in needed.items():
        name = listing.classes[label]
        if n > most[label]:
            raise UserError(
                f"imbalance: class {name!r} has {have[name]} images, of which train has at most {most[label]}, fewer "
                f"than the {n} requested"
            )


def _check_thinning(outline: Outline, inspection: Inspection) -> None:
    """UserError if the imbalance profile needs more images than train has after duplicates are removed."""
    if inspection.train is not None:
        outline.imbalance.target(inspection.train, inspection.intake.listing.classes)


def _check_arms(outline: Outline, listing: Listing) -> None:
    """UserError if the share or the fill of an arm names an unknown class."""
    for arm in outline.arms:
        for key, names in _class_names(arm):
            for name in names:
                try:
                    label_of(name, listing.classes)
                except UserError as error:
                    raise UserError(f"mix.{key} of arm {arm.name!r}: {error}") from None


def _class_names(arm: Arm) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Options of an arm's mix that name classes."""
    for key, value in (("share", arm.mix.share), ("fill", arm.mix.fill)):
        if isinstance(value, Mapping):
            yield key, value


# In the order in which they are made. A later one of DATA relies on the earlier ones.
DATA: Final = (_check_classes, _check_split, _check_attributes)
SETTINGS: Final = (_check_imbalance, _check_arms)
