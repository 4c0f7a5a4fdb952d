"""`augpipe quiz score`: the score of answers that a run's quiz page has saved."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from augpipe.core.errors import UserError

from .command_line import Json
from .output import print_json, print_line

quiz = App(name="quiz", help="Score answers to the quiz pages of a run: real or synthetic?")


@quiz.command
def score(*answers: Path, json: Json = False) -> None:
    """Print the score of answers with its 95% interval, one line a file.

    Parameters
    ----------
    answers
        CSV files that quiz pages (quiz/GENERATOR.html in a run's out folder) have saved, one of each observer and quiz.
    json
        Print only JSON: a list with `file`, `quiz`, `answers`, `right`, `fraction`, `low`, `high`, `real_called_real`,
        `synthetic_called_synthetic` and `reading`.
    """
    from augpipe.report.quiz_answers import WORDS, read_score

    if not answers:
        raise UserError("augpipe quiz score needs a file: augpipe quiz score answers.csv")
    scores = [(path, read_score(path)) for path in answers]
    if json:
        print_json([{"file": str(path), **one.values()} for path, one in scores])
        return
    for name in dict.fromkeys(one.quiz for _, one in scores):
        _print(f"quiz: {name}")
    for path, one in scores:
        right, n = one.overall
        low, high = one.interval
        truths = ", ".join(f"{one.right[word]} of {one.n[word]} {word} ones called {word}" for word in WORDS)
        _print(
            f"{path}: {right} of {n} right, {100 * right / n:.1f}% (95% interval {100 * low:.1f} to {100 * high:.1f}), "
            f"{one.reading}; {truths}"
        )


def _print(line: str) -> None:
    print_line(line)
