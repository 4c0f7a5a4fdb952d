"""Classes with too few test images for any verdict: the warning that is printed before training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from augpipe.core.counts import LEAST_TEST
from augpipe.core.errors import several
from augpipe.data.sources._listing import classes_option

MOST_TEST: Final = 0.5  # fraction of a class that advice gives to test


def few_test_note(have: Mapping[str, int], total: Mapping[str, int], what: str, kind: str) -> tuple[str, ...]:
    """A note of classes with too few test images, or groups of them, and what to do; none if there are none.

    have, total: number in test, and in all, of each class. what: `image` or `group`. kind: of the split.
    """
    few = {name: n for name, n in have.items() if n < LEAST_TEST}
    if not few:
        return ()
    share = math.ceil(20 * LEAST_TEST / max(1, min(total[name] for name in few))) / 20
    others = [name for name in have if name not in few]
    without = f", or leave such classes out ({classes_option(others)})" if len(others) > 1 else ""
    advice = f"set split.test={share:g}" if share <= MOST_TEST else f"add {what}s{without}"
    if kind == "k_fold":
        advice = f"set fewer split.folds, or add {what}s{without}"
    if kind == "official":
        other = "stratified" if what == "image" else "grouped"
        advice = f"draw another split (split.kind={other}) and {advice}"
    named = ", ".join(f"{name!r} {n}" for name, n in list(few.items())[:5])
    return (
        f"no verdict is possible: at least {LEAST_TEST} test {what}s of every class are needed, and "
        f"{several(len(few), 'class')} of {len(have)} have fewer ({named}{', ...' if len(few) > 5 else ''}); {advice}",
    )
