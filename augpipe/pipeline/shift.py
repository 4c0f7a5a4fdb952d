"""The second test set (`source.shift`), read and checked alike for a run and for an inspection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.data.inspect import Inspection, with_mistakes
from augpipe.data.intake import Intake, Progress, take_in
from augpipe.data.shift import SecondSet, second_set
from augpipe.data.shift_listing import naming_shift
from augpipe.pipeline.experiment import Outline
from augpipe.pipeline.validate import list_shift


def read_shift(
    outline: Outline, spec: ImageSpec, intake: Intake, folder: Path | None, progress: Progress
) -> SecondSet | None:
    """Every image of the second test set, in the shape of the source's; None without one. UserError for what stops a
    run on it.

    intake: of the source. folder: where to write the images; None: only facts are stored.
    """
    listing = list_shift(outline, intake.listing.classes)
    if listing is None:
        return None
    options = outline.image.model_copy(update={"size": spec.size, "channels": spec.channels})
    with naming_shift():
        read = take_in(listing, options, outline.policy, folder=folder, progress=progress)
    return second_set(read, intake, outline.duplicates)


def with_shift(outline: Outline, inspection: Inspection, progress: Progress) -> Inspection:
    """The inspection with the second test set, or with what stops a run on it."""
    intake, spec = inspection.intake, inspection.survey.spec
    if not intake.listing.classes:
        return inspection  # there is nothing to compare its classes with
    try:
        return replace(inspection, shift=read_shift(outline, spec, intake, None, progress))
    except UserError as error:
        return with_mistakes(inspection, (str(error),))
