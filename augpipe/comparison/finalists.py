"""The two arms that a confirm stage trains again, chosen by validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Finalists:
    """The best arm with a trained generator and the strongest one without; None if there is no such arm."""

    contender: str | None
    rival: str | None

    @property
    def missing(self) -> str:
        """Why there is no pair to confirm; "" if there is one."""
        if self.contender is None:
            return "no arm was trained with images of a trained generator"
        return "every arm uses a trained generator" if self.rival is None else ""


def finalists(val: Mapping[str, float], generative: Mapping[str, bool]) -> Finalists:
    """Choose by the mean score of each arm on val, the higher the better; ties go to the arm that is listed first.

    val: arm → score, in the order of listing. generative: whether an arm was trained with images of a trained
    generator.
    """
    return Finalists(
        *(_best({arm: score for arm, score in val.items() if generative[arm] == kind}) for kind in (True, False))
    )


def _best(val: Mapping[str, float]) -> str | None:
    return max(val, key=lambda arm: val[arm]) if val else None
