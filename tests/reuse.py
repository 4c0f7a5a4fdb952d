"""Runs a tiny comparison's graph in this process and prints, a line per call, what was computed and what reused.

python tests/reuse.py STORE [KEY=VALUE ...]
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from jobs import Work, make_work

from augpipe.pipeline import cache
from augpipe.pipeline.graph import call_stages
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.stages.train_generator import train_generator

SHORT = (
    "seeds=1",
    "fidelity.images=8",
    "classifier.steps=8",
    "classifier.evaluations=2",
    "generators.acgan.kimg=0.2",
    "generators.acgan.ticks=1",
)


def job(store: Path, *overrides: str) -> Work:
    return make_work(store.parent, *SHORT, *overrides).but(root=store)


def go(work: Work) -> tuple[Runs, list[str]]:
    """The results, and a line for each call: `computed` or `reused`, and the call's title."""
    calls: list[str] = []

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        result = cache.run(stage, work.context, *inputs)
        what = f"generator {title}" if stage is train_generator else title
        calls.append(f"{'reused' if result.reused else 'computed'} {what}")
        return result.value

    prepared = work.prepare()
    runs = call_stages(work.experiment, dict.fromkeys(work.experiment.seeds, prepared), call)
    return runs, calls


def lines(work: Work) -> list[str]:
    return go(work)[1]


def made(calls: list[str]) -> set[str]:
    """Titles of what was computed."""
    return {line.removeprefix("computed ") for line in calls if line.startswith("computed ")}


def main() -> None:
    """See the module's head."""
    warnings.simplefilter("ignore")
    store, *overrides = sys.argv[1:]
    print("\n".join(lines(job(Path(store), *overrides))), flush=True)


if __name__ == "__main__":
    main()
