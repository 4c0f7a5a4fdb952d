"""Read the answers that a quiz page has saved, and score them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from augpipe.comparison.proportion import wilson
from augpipe.core.errors import UserError, choices, exists, near_name, unknown

COLUMNS: Final = ("quiz", "item", "class", "truth", "answer", "seconds")
WORDS: Final = ("real", "synthetic")


@dataclass(frozen=True)
class Score:
    """One observer's answers to one quiz. right, n: overall and of the items of each truth."""

    quiz: str
    right: dict[str, int]  # truth → correct answers
    n: dict[str, int]  # truth → answers

    @property
    def overall(self) -> tuple[int, int]:
        """Correct answers, and answers."""
        return sum(self.right.values()), sum(self.n.values())

    @property
    def interval(self) -> tuple[float, float]:
        """Of the fraction of correct answers; see `wilson`."""
        return wilson(*self.overall)

    @property
    def reading(self) -> str:
        """What the interval says of guessing, which is right half of the time."""
        low, high = self.interval
        if low > 0.5:
            return "better than guessing"
        return "worse than guessing" if high < 0.5 else "not shown to be better than guessing"

    def values(self) -> dict[str, Any]:
        """For JSON; fractions are None without an answer."""
        right, n = self.overall
        low, high = self.interval
        of_truth = {
            f"{word}_called_{word}": self.right[word] / self.n[word] if self.n[word] else None for word in WORDS
        }
        return {
            "quiz": self.quiz,
            "answers": n,
            "right": right,
            "fraction": right / n,
            "low": low,
            "high": high,
            **of_truth,
            "reading": self.reading,
        }


def read_score(path: Path) -> Score:
    """The score of a file of answers; UserError if it is none, or names what it should not."""
    if not exists(path):
        raise UserError(f"no file {str(path)!r}{near_name(path)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not CSV in UTF-8"
        raise UserError(f"cannot read the answers {path}: {reason}") from None
    missing = [name for name in COLUMNS[:-1] if not rows or name not in rows[0]]
    if missing:
        what = f"no column {missing[0]!r}" if rows else "no answers"
        raise UserError(f"{path} has {what}; a quiz page saves the columns {choices(COLUMNS)} with a row an answer")
    quizzes = list(dict.fromkeys(row["quiz"] for row in rows))
    if len(quizzes) > 1:
        raise UserError(f"{path} holds answers to {len(quizzes)} quizzes; give one file each")
    seen: set[str] = set()
    right, n = dict.fromkeys(WORDS, 0), dict.fromkeys(WORDS, 0)
    for line, row in enumerate(rows, 2):
        for column in ("truth", "answer"):
            if row[column] not in WORDS:
                raise unknown(f"{column} in line {line} of {path}", row[column], WORDS)
        if row["item"] in seen:
            raise UserError(f"{path} answers item {row['item']} twice, again in line {line}")
        seen.add(row["item"])
        n[row["truth"]] += 1
        right[row["truth"]] += row["truth"] == row["answer"]
    return Score(quizzes[0], right, n)
