"""Any file of a store is damaged, in any way: the next run gives the same results, and stores them again."""

from __future__ import annotations

import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
from jobs import Work
from reuse import go, job, made

from augpipe.core import integrity
from augpipe.core.files import digest
from augpipe.core.store import load_table
from augpipe.pipeline import cache
from augpipe.pipeline.runs import Runs

SMALLEST = ("classifier.steps=6", "arms.smote.mix.share=0.2")
ROUNDS, EACH = 6, 10


def flip(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    os.truncate(path, rng.randrange(max(1, path.stat().st_size)))


def delete(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    path.unlink()


def swap(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    """Another file of the kind, such as an older one, or its own bytes where there is none."""
    path.write_bytes(rng.choice(others).read_bytes())


def pipe(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    """Who opens it waits for ever."""
    path.unlink()
    os.mkfifo(path)


def listen(path: Path, others: Sequence[Path], rng: random.Random) -> None:
    """A socket: its own path may have 107 bytes, a relative one is short."""
    path.unlink()
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


KINDS: tuple[Callable[[Path, Sequence[Path], random.Random], None], ...] = (flip, truncate, delete, swap, pipe, listen)


def damage(store: Path, rng: random.Random) -> str:
    """Damage one file, and keep its modification time, as a failing disk does."""
    files = sorted(
        path
        for path in store.rglob("*")
        if path.is_file() and path.relative_to(store).parts[0] not in ("running", "damaged")
    )
    path, kind = rng.choice(files), rng.choice(KINDS)
    status = path.stat()
    kind(path, [f for f in files if f.suffix == path.suffix], rng)
    if path.exists():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{kind.__name__} {path.relative_to(store)}"


def results(work: Work, runs: Runs) -> list[object]:
    """All that a report is written from."""
    values = [value for _, _, value in runs.results()]
    return [
        [cache.content(value) for value in values],
        [load_table(run.scored.table).to_csv() for run in runs.arms.values()],
        [load_table(run.measured.table).to_csv() for run in runs.generators.values()],
        [run.recipe.model_dump(mode="json") for run in runs.arms.values()],
        [(run.trained.best_kimg, run.trained.best_metric) for run in runs.generators.values()],
    ]


def test_sixty_damages_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, rng = job(tmp_path / "store", *SMALLEST), random.Random(0)
    first = results(work, go(work)[0])
    for number in range(ROUNDS):
        damages = [damage(work.store.root, rng) for _ in range(EACH)]
        monkeypatch.setattr(integrity, "_compared", {})  # as a new process
        again = work.but(fresh=number == ROUNDS - 1)  # --fresh too stores what is damaged
        assert results(again, go(again)[0]) == first, damages
    monkeypatch.setattr(integrity, "_compared", {})
    compared: Counter[Path] = Counter()

    def counted(path: Path) -> str:
        compared[path] += 1
        return digest(path)

    monkeypatch.setattr(integrity, "digest", counted)
    runs, calls = go(work)
    assert not made(calls)
    # Each is hashed once in a process, however many tasks use it: a fraction of the time that decoding it takes.
    assert len(compared) > 20 and set(compared.values()) == {1}
    for _, _, value in runs.results():
        assert all(digest(ref.path) == ref.sha256 for ref in cache.refs(value))
