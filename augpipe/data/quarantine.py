"""Files that cannot be used: how many are too many, and the list of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from augpipe.core.errors import UserError
from augpipe.data.options import Policy
from augpipe.data.sources._listing import Bad

MOST_BAD: Final = 0.05  # share of files that may be bad


def check_bad(bad: Sequence[Bad], total: int, policy: Policy | None) -> None:
    """UserError where there are more bad files than the policy lets through."""
    if policy is None or not bad:
        return
    first = f"{bad[0].id}: {bad[0].reason}"
    if policy.on_bad == "fail":
        raise UserError(f"cannot use {first} (on_bad: quarantine goes on without it)")
    if len(bad) > MOST_BAD * max(1, total):
        raise UserError(
            f"more than {100 * MOST_BAD:g}% of {total:,} files cannot be used, {len(bad):,} so far ({reasons(bad)}); "
            f"the first is {first}; `augpipe inspect` lists them all"
        )


def reasons(bad: Sequence[Bad], most: int | None = 3) -> str:
    """`12 no picture of a known format, 3 ...`: the most common reasons, or all."""
    found = Counter(kind_of(one.reason) for one in bad)
    told = [f"{n:,} {reason}" for reason, n in found.most_common(most)]
    return ", ".join(told) + (" and others" if len(found) > len(told) else "")


def kind_of(reason: str) -> str:
    """A reason without what differs from file to file: numbers, and the row."""
    return re.sub(r"(?<![\w>])-?\d[\w,.+-]*", "…", re.sub(r"^row \d+: ", "", reason))


def quarantine(bad: tuple[Bad, ...], removed: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The table of `quarantine.csv`: id, class, what was done, and why. removed: id → (class, reason)."""
    rows = [(one.id, one.label, "quarantined", one.reason) for one in bad]
    rows += [(name, label, "removed", reason) for name, (label, reason) in removed.items()]
    return pd.DataFrame(rows, columns=["id", "class", "what", "reason"])
