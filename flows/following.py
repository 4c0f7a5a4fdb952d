"""A run as it goes: its bars and lines, its tracking, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prefect.futures import PrefectFuture, as_completed
from rich.console import Console

from augpipe.core.errors import several
from augpipe.core.store import load_table
from augpipe.pipeline.records import (
    Chosen,
    IntakeRecord,
    Prepared,
    Scored,
    Synthesised,
    TrainedGenerator,
)

from .failures import Failures, Key
from .progress import Board
from .recalling import RECALLED
from .submitting import BySeed, Futures
from .tracking import Tracker


def told(intake: IntakeRecord) -> Iterator[str]:
    """What the user should know of what came in, a line each; nothing where there is nothing to say."""
    if intake.quarantined:
        yield f"{several(intake.quarantined, 'file')} that cannot be used; quarantine.csv says why"
    if intake.ignored:
        ignored = ", ".join(f"{n:,} {suffix}" for suffix, n in intake.ignored.items())
        yield f"no pictures by their names, left alone: {ignored}"
    yield from intake.notes


def follow(futures: Futures, prepared: BySeed, tracker: Tracker, progress: Path) -> Failures:
    """Show progress and track each generator and arm as it ends; what failed, and leaves the rest standing.

    Raises what ends the run at once (see `failures.ends_all`).
    """
    stages: dict[PrefectFuture[object], list[tuple[str, Key]]] = {}
    for stage, key, future in futures.all():
        stages.setdefault(future, []).append((stage, key))
    board = Board(progress, len(stages), Console(stderr=True))
    recalled, earlier, failures = 0, False, Failures()
    with board.live():
        for future in as_completed(list(stages)):
            stage, key = stages[future][0]
            try:
                result = future.result()
            except Exception as error:
                for one, its in stages[future]:
                    told = failures.add(one, its, error)
                    if told:
                        board.say(told)
                board.advance("")
                continue
            if future.state.name == RECALLED:
                recalled += 1
                # A mix without synthetic images is the same for all seeds: the first one's is recalled in any run.
                earlier = earlier or stage != "mixed"
            if isinstance(result, TrainedGenerator):
                tracker.generator(prepared[result.seed], result)
            elif isinstance(result, Scored):
                mixed, trained = futures.mixed[key].result(), futures.trained[key].result()
                tracker.arm(prepared[result.seed], mixed, trained, result)
            elif isinstance(result, Synthesised):
                short = shortage(prepared[key[1]], key, result)
                if short:
                    board.say(short)
            board.advance(line(key, result, futures))
    if earlier:
        board.say(f"recalled {recalled} of {several(len(stages), 'task')}; --fresh makes all anew")
    return failures


def line(key: Key, result: object, futures: Futures) -> str:
    """What to say of a task that ended, or ""."""
    arm = f"arm {key[0]}, seed {key[1]}: "
    if isinstance(result, TrainedGenerator):
        return (
            f"generator {result.name}, {result.told}seed {result.seed}: best at {result.best_kimg:g} kimg "
            f"(val KID {result.best_metric:.3g}), {result.time.seconds:.0f} s"
        )
    if isinstance(result, Scored):
        return f"{arm}scored, {futures.trained[key].result().time.seconds:.0f} s"
    if isinstance(result, Chosen):
        return f"{arm}{chosen(result)} by val, {result.time.seconds:.0f} s"
    return ""


def chosen(found: Chosen) -> str:
    """What of share and number of images was searched, and came out."""
    tried = load_table(found.table)
    # Each class's would fill the screen; summary.json has them.
    own = isinstance(found.share, Mapping)
    share = "a share for each class" if own else f"share {found.share}"
    part = f"{found.part:.0%} of the images"
    searched = [
        text for name, text in (("share", share), ("part", part)) if tried[name].nunique() > 1
    ]
    return ", ".join(searched) or "nothing to choose from"


def shortage(prepared: Prepared, key: Key, made: Synthesised) -> str:
    """What curation left missing, or ""."""
    missing = ", ".join(f"{n} of class {prepared.classes[c]}" for c, n in made.short.items())
    return (
        f"arm {key[0]}, seed {key[1]}: too few images passed the checks; missing: {missing}"
        if missing
        else ""
    )
