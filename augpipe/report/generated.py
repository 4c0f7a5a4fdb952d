"""Write images drawn from a generator, in any of the forms of a balanced set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from augpipe.core.files import beside
from augpipe.core.images import SYNTHETIC, ImageSet
from augpipe.report.class_folders import folder_names, pictures
from augpipe.report.credentials import Signing
from augpipe.report.forms import Content, Origin, write_form
from augpipe.report.out import check_new


def write_generated(images: ImageSet, origin: Origin, out: Path, form: str, signing: Signing | None = None) -> None:
    """Write the images to the new folder `out` atomically; form: one of `forms.FORMS`. signing: signs PNG files."""
    check_new(out)  # again: the folder may have changed while images were drawn
    with beside(out) as draft:
        draft.mkdir(parents=True)
        labels = np.asarray(images.labels)
        origins = [origin] * len(images)
        table = _table(images, origin)
        content = Content(table, labels, images.classes, pictures(images), origins, signing=signing)
        write_form(form, content, draft)


def _table(images: ImageSet, origin: Origin) -> pd.DataFrame:
    """`file, class, origin, id, group, parent, generator, checkpoint, seed`, as in a balanced set's manifest; and
    `truncation` if there is any.
    """
    folders = folder_names(images.classes)
    table = pd.DataFrame(
        {
            "file": [f"{folders[c]}/{SYNTHETIC}-{row:06d}.png" for row, c in enumerate(images.labels)],
            "class": [images.classes[c] for c in images.labels],
            **{name: images.table[name].to_numpy() for name in ("origin", "id", "group", "parent")},
            "generator": origin.generator,
            "checkpoint": origin.checkpoint,
            "seed": origin.seed,
        }
    )
    return table if origin.truncation == 1 else table.assign(truncation=origin.truncation)
