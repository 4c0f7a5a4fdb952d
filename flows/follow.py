"""Follow a run: show its progress, track its results, collect its failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.futures import PrefectFuture, as_completed
from rich.console import Console

from augpipe.core.errors import several
from augpipe.core.store import load_table
from augpipe.pipeline import graph
from augpipe.pipeline.context import Context
from augpipe.pipeline.records import Choice, IntakeRecord, Prepared, Recipe, Scored, Synthetic, TrainedGenerator
from augpipe.pipeline.runs import ArmRun, GeneratorRun, Run, Runs

from .board import Board
from .failures import Failures
from .tasks import CACHED, result_of
from .time_left import GENERATORS, STAGES, Key
from .tracking import Tracker


def intake_lines(intake: IntakeRecord) -> Iterator[str]:
    """Messages about the input data, one per line."""
    if intake.quarantined:
        yield f"{several(intake.quarantined, 'file')} that cannot be used; quarantine.csv says why"
    if intake.ignored:
        ignored = ", ".join(f"{n:,} {suffix}" for suffix, n in intake.ignored.items())
        yield f"ignored files without an image extension: {ignored}"
    yield from intake.notes


def follow(runs: Runs, tracker: Tracker, context: Context, before: Runs | None = None) -> Failures:
    """Show progress and track each generator and arm as it completes; returns failures that do not end the run.

    before: runs that were followed already; their results, which new runs may share, are passed over.
    Raises errors that end the run at once (see `failures.ends_all`).
    """
    owners: dict[Any, list[tuple[Run, str]]] = {}
    known: list[tuple[Run, str, Any]] = []
    passed_over = {id(value) for _, _, value in before.results()} if before is not None else set()
    for run, name, value in runs.results():
        if id(value) in passed_over:
            continue
        if isinstance(value, PrefectFuture):
            owners.setdefault(value, []).append((run, name))
        else:
            known.append((run, name, value))
    failures, total = Failures(), len(owners) + len(known)
    board = Board(
        context.progress,
        [_key(*owner[0]) for owner in owners.values()],
        Console(stderr=True),
        known=[_key(run, name) for run, name, _ in known],
        samples=context.root / "previews",
    )
    reused = len(known)
    with board.live():
        for run, name, value in known:
            _complete(tracker, board, run, name, value)
        for future in as_completed(list(owners)):
            run, name = owners[future][0]
            try:
                value = future.result()
            except Exception as error:
                for failed, stage in owners[future]:
                    message = failures.add(failed, stage, error)
                    if message:
                        board.log(message)
                board.advance(_key(run, name), "")
                continue
            reused += future.state.name == CACHED and not isinstance(value, Recipe)
            _complete(tracker, board, run, name, value)
            board.advance(_key(run, name), line_for(run, value))
    if reused:
        board.log(f"reused {reused} of {several(total, 'result')} from cache; --fresh computes all")
    return failures


def _key(run: Run, name: str) -> Key:
    """Stage of a result, and the generator's name if it is one's training."""
    stage = STAGES[graph.STAGES[name].__name__]
    return stage, run.name if stage == GENERATORS and isinstance(run, GeneratorRun) else ""


def _complete(tracker: Tracker, board: Board, run: Run, name: str, value: Any) -> None:
    """Track the generator or arm that this result completes, and report images that checks left missing."""
    match run, value:
        case GeneratorRun(), TrainedGenerator():
            tracker.generator(run.prepared, value)
        case ArmRun(), Scored():
            tracker.arm(run.prepared, result_of(run.recipe), result_of(run.classifier), value)
        case ArmRun(), Synthetic() if name == "synthetic":  # of all the arm's generators together
            for line in shortage(run, value):
                board.log(line)


def line_for(run: Run, value: Any) -> str:
    """The line that reports a finished stage, or ""."""
    match run, value:
        case GeneratorRun(), TrainedGenerator():
            return (
                f"generator {value.name}, {value.scope}seed {value.seed}: best at {value.best_kimg:g} kimg "
                f"(val KID {value.best_metric:.3g}), {value.time.seconds:.0f} s"
            )
        case ArmRun(), Scored():
            seconds = result_of(run.classifier).time.seconds
            return f"arm {run.arm.name}, seed {run.seed}: scored, {seconds:.0f} s"
        case ArmRun(), Choice():
            return f"arm {run.arm.name}, seed {run.seed}: {describe_choice(value)} by val, {value.time.seconds:.0f} s"
    return ""


def describe_choice(choice: Choice) -> str:
    """The share and the fraction of images that were chosen, as far as they were searched."""
    tried = load_table(choice.table)
    # Shares per class would fill the screen; summary.json has them.
    by_class = isinstance(choice.share, Mapping)
    share = "a share for each class" if by_class else f"share {choice.share}"
    part = f"{choice.part:.0%} of the images"
    searched = [text for name, text in (("share", share), ("part", part)) if tried[name].nunique() > 1]
    return ", ".join(searched) or "nothing to choose from"


def shortage(run: ArmRun, synthetic: Any) -> Iterator[str]:
    """A message if an arm has fewer images than planned: of the checks, or because its generator has no more."""
    prepared: Prepared = run.prepared
    missing = ", ".join(f"{n} of class {prepared.classes[c]}" for c, n in synthetic.short.items())
    if missing:
        limited = set(run.arm.generators) & set(prepared.external)
        why = "there are too few images that pass the checks" if limited else "too few images passed the checks"
        yield f"arm {run.arm.name}, seed {run.seed}: {why}; missing: {missing}"
