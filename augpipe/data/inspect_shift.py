"""Inspect the second test set (`source.shift`) beside the source, by the checks of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from augpipe.core.errors import UserError
from augpipe.core.options import SHIFT, ImageOptions
from augpipe.data.inspect import Inspection, Problem
from augpipe.data.intake import Progress, take_in
from augpipe.data.options import Policy
from augpipe.data.quarantine import check_bad
from augpipe.data.shift import select
from augpipe.data.sources import Listing


def inspect_shift(
    inspection: Inspection,
    listing: Callable[[], Listing | None],
    options: ImageOptions,
    policy: Policy,
    progress: Progress = lambda done, total: None,
) -> Inspection:
    """The inspection of a source with its second test set: images of each class, what stops a run there, and notes.

    listing: returns that of the second test set, None if there is none; what it raises stops a run.
    """
    spec = inspection.survey.spec
    try:
        listed = listing()
        if listed is None:
            return inspection
        shape = options.model_copy(update={"size": spec.size, "channels": spec.channels})
        read = take_in(listed, shape, None, progress=progress)
        check_bad(read.bad, len(read.rows) + len(read.bad), policy)
        selected = select(read, inspection.intake, policy.duplicates)
    except UserError as error:
        text = str(error)
        stop = Problem("stop", text if f"source.{SHIFT}" in text else f"source.{SHIFT}: {text}")
        return replace(inspection, problems=(*inspection.problems, stop))
    counts = {name: selected.counts[label] for label, name in enumerate(listed.classes)}
    notes = tuple(Problem("warning", note) for note in selected.notes)
    return replace(inspection, shift=counts, problems=(*inspection.problems, *notes))
