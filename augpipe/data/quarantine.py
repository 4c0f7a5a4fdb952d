"""Unusable files: the limit on their number, a summary of reasons, and the table of `quarantine.csv`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from augpipe.core.errors import PictureError, UserError, WindowError, one_line, several
from augpipe.core.options import Window
from augpipe.data.options import Policy
from augpipe.data.sources._listing import Bad, Listing

if TYPE_CHECKING:
    import pandas as pd

MOST_BAD: Final = 0.05  # fraction of files that may be unusable
MEND: Final = "mend them or remove them (of a folder or archive, source.exclude=[PATTERN] leaves files out)"


def check_bad(bad: Sequence[Bad], total: int, policy: Policy | None) -> None:
    """UserError if there are more bad files than the policy allows."""
    if policy is None or not bad:
        return
    first = f"{bad[0].id}: {bad[0].reason}"
    if policy.on_bad == "fail":
        raise UserError(f"cannot use {first} (set on_bad: quarantine to continue without it)")
    if len(bad) > MOST_BAD * max(1, total):
        raise UserError(
            f"more than {100 * MOST_BAD:g}% of {total:,} files cannot be used, {len(bad):,} so far: {reasons(bad)}; "
            f"the first is {first}; `augpipe inspect` lists them all; {MEND}"
        )


def check_any(listing: Listing) -> None:
    """UserError if none of a source's files can be used."""
    bad = listing.bad
    if bad and not len(listing):
        raise UserError(
            f"none of {several(len(bad), 'file')} can be used: {reasons(bad)}; the first is {bad[0].id}: "
            f"{bad[0].reason}"
        )


def reasons(bad: Sequence[Bad], most: int | None = 3) -> str:
    """`no picture of a known format (12), ... (3)`: the `most` most common reasons, or all."""
    counts = Counter(kind_of(one.reason) for one in bad)
    parts = [f"{reason} ({n:,})" for reason, n in counts.most_common(most)]
    return ", ".join(parts) + (" and others" if len(counts) > len(parts) else "")


def kind_of(reason: str) -> str:
    """A reason without row and numbers, so that equal kinds can be counted."""
    return re.sub(r"(?<![\w>])-?\d[\w,.+-]*", "…", re.sub(r"^row \d+: ", "", reason))


def reason(error: Exception) -> str:
    """Reason why a picture cannot be used: one line, without Python class names and addresses where possible."""
    name = type(error).__name__
    if name == "UnidentifiedImageError":
        return "not a picture of a supported format"
    if name in ("DecompressionBombError", "DecompressionBombWarning"):
        return f"a decompression bomb: {one_line(error)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = one_line(error)
    if isinstance(error, PictureError | UserError):
        return message
    is_plain = isinstance(error, OSError | ValueError) and message
    return f"broken: {message if is_plain else f'{name} {message}'.strip()}"


def reason_for_model(error: Exception, window: Window | None) -> str:
    """Reason why a trained model cannot read a picture. window: the model's, which nobody can change."""
    if not isinstance(error, WindowError):
        return reason(error)
    trained = "without image.window, on pictures of 8 bits" if window is None else f"with image.window {window}"
    what = error.what.rstrip(",;")
    return f"{what}, and the model was trained {trained}: convert the picture as those were"


def quarantine(bad: tuple[Bad, ...], removed: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The table of `quarantine.csv`: id, class, action and reason. removed: id → (class, reason)."""
    import pandas as pd  # imported late: the checks do not need it

    rows = [(one.id, one.label, "quarantined", one.reason) for one in bad]
    rows += [(name, label, "removed", reason) for name, (label, reason) in removed.items()]
    return pd.DataFrame(rows, columns=["id", "class", "what", "reason"])
