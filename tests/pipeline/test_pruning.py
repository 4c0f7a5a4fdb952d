"""What is taken from the store, and what never is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reuse import go, job, lines, made
from tiny import augpipe

from augpipe.core.errors import UserError
from augpipe.core.home import age_seconds, store_limit
from augpipe.core.store import Store
from augpipe.pipeline import pruning


def aged(path: Path, days: float) -> Path:
    when = time.time() - 86_400 * days
    os.utime(path, (when, when))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five files of 1000 bytes, used 5, 4, 3, 2 and 1 days ago."""
    found = Store(tmp_path / "store")
    for days in range(1, 6):
        ref = found.put("kind", lambda path, d=days: path.write_bytes(bytes([d]) * 1000))
        aged(ref.path, days)
    return found


def left(store: Store) -> list[int]:
    return sorted(item.path.read_bytes()[0] for item in pruning.items(store))


def test_what_was_not_used_for_long_goes(store: Store) -> None:
    taken = pruning.prune(store, older_than=2.5 * 86_400)
    assert len(taken) == 3 and left(store) == [1, 2]


def test_a_limit_takes_the_longest_unused_first_and_no_more(store: Store) -> None:
    assert not pruning.prune(store, limit=5000) and len(left(store)) == 5
    pruning.prune(store, limit=3500)
    assert left(store) == [1, 2, 3]


def test_storing_the_same_again_is_a_use(store: Store) -> None:
    store.put("kind", lambda path: path.write_bytes(bytes([5]) * 1000))
    pruning.prune(store, older_than=4.5 * 86_400)
    assert 5 in left(store)
    pruning.prune(store, limit=1000)
    assert left(store) == [5]


def test_what_a_run_uses_stays_and_a_killed_runs_mark_protects_nothing(store: Store) -> None:
    with pruning.running(store):
        store.put("kind", lambda path: path.write_bytes(b"\x09" * 1000))
        pruning.prune(store, limit=0)
        assert left(store) == [9]
    killed = "import os, sys; from pathlib import Path; from augpipe.core import store; from augpipe.pipeline import pruning\n"
    killed += "with pruning.running(store.Store(Path(sys.argv[1]))): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, str(store.root)], check=False)
    assert len(list((store.root / pruning.RUNNING).iterdir())) == 1
    pruning.prune(store, limit=0)
    assert not left(store) and not list((store.root / pruning.RUNNING).iterdir())


def test_drafts_of_killed_workers_go_at_the_end_of_a_run(store: Store) -> None:
    """A run that is stopped kills its workers, which may be writing."""
    script = "from augpipe.core.processes import mark; print(mark())"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    draft = store.root / "kind" / f".new.{ended.stdout.strip()}-0123abcd.tmp"
    with pytest.raises(KeyboardInterrupt), pruning.running(store):
        draft.mkdir()
        raise KeyboardInterrupt
    assert not draft.exists() and left(store) == [1, 2, 3, 4, 5]


def test_the_earliest_run_of_any_process_protects_what_was_used_since(store: Store) -> None:
    folder = store.root / pruning.RUNNING
    folder.mkdir()
    script = "import sys; from pathlib import Path; from augpipe.core.processes import hold\n"
    script += "with hold(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    early = folder / f"{time.time() - 3.5 * 86_400:.6f}-x"
    command = [sys.executable, "-c", script, str(early)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout and other.stdout.readline()
        with pruning.running(store):
            pruning.prune(store, limit=0)
        assert left(store) == [1, 2, 3] and list(folder.iterdir()) == [early]
        other.stdin.close()
    assert not list(folder.iterdir())


def test_marks_of_earlier_versions_do_not_count(store: Store) -> None:
    """They are files of text without a lock."""
    (store.root / pruning.RUNNING).mkdir()
    (store.root / pruning.RUNNING / "0a1b").write_text(f"{time.time()}\nelsewhere/0/ 1 1")
    pruning.prune(store, limit=0)
    assert not left(store) and not list((store.root / pruning.RUNNING).iterdir())


def test_what_a_dead_container_left_protects_nothing(store: Store) -> None:
    """Of another host, whose processes cannot be looked up here: its lock, which the system freed, and a draft."""
    lock = store.root / pruning.RUNNING / f"{time.time() - 41 * 86_400:.6f}-{'0a' * 16}"
    lock.parent.mkdir()
    lock.touch()
    draft = store.root / "kind" / ".new.0a1b2c3d-17-4242-0123abcd.tmp"
    draft.write_bytes(b"x" * 1000)
    aged(draft, 41)
    with pruning.running(store):  # another run, now
        assert draft.exists()  # it may be a running one's
        pruning.prune(store, limit=0)
    assert not left(store) and not draft.exists() and not list(lock.parent.iterdir())


def test_what_is_no_mark_in_their_folder_is_left_alone(store: Store) -> None:
    """As a network drive's folders and the files of a desktop."""
    folder = store.root / pruning.RUNNING
    (folder / "@eaDir").mkdir(parents=True)
    (folder / "1.0-x").mkdir()
    (folder / ".DS_Store").touch()
    assert not pruning.is_in_use(store)
    pruning.prune(store, limit=0)
    assert not left(store)
    assert {path.name for path in folder.iterdir()} == {"@eaDir", "1.0-x", ".DS_Store"}


def test_what_is_used_while_others_are_taken_stays(store: Store, monkeypatch) -> None:
    """As by a run that begins after the store was listed."""
    real, last = pruning.earliest_start, max(pruning.items(store), key=lambda item: item.used)

    def used_meanwhile(where: Store) -> float:
        os.utime(last.path)
        return real(where)

    monkeypatch.setattr(pruning, "earliest_start", used_meanwhile)
    assert len(pruning.prune(store, limit=0)) == 4
    assert [item.path for item in pruning.items(store)] == [last.path]


def test_a_recalled_result_is_used_with_all_it_names(tmp_path: Path) -> None:
    """Also what only a recipe names: the part of the images that val chose."""
    work = job(tmp_path / "store")
    store = work.store
    runs, _ = go(work)
    for item in pruning.items(store):
        aged(item.path, 3)
    assert not made(lines(work))
    old = {item.path for item in pruning.items(store) if item.used < time.time() - 86_400}
    for run in runs.arms.values():
        for ref in (run.recipe.real, run.recipe.synthetic):
            assert ref is None or ref.path not in old
    # What is left are embeddings that nothing had to be measured with, candidates of finished searches, and no other
    # result.
    pruning.prune(store, older_than=86_400)
    old = {path for path in old if not path.name.startswith("try_candidate-")}
    assert {path.parent.name for path in old} <= {"features", "images"}
    assert not made(lines(work))


@pytest.mark.parametrize(("text", "size"), [("500MB", 5e8), ("1.5 GB", 1.5e9), ("2TB", 2e12), ("", 2e10)])
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: float) -> None:
    monkeypatch.setenv("AUGPIPE_STORE_LIMIT", text)
    assert store_limit() == size


@pytest.mark.parametrize("text", ["5", "GB", "-1GB", "5gb", "1e3GB", "5 PB"])
def test_what_is_no_size_or_age_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AUGPIPE_STORE_LIMIT", text)
    with pytest.raises(UserError, match=f"a size such as 500MB.*got '{text}'"):
        store_limit()
    with pytest.raises(UserError, match=f"such as 90m, 12h or 7d; got '{text}'"):
        age_seconds(text)


def test_the_command_lists_and_prunes(tmp_path: Path) -> None:
    empty = augpipe(tmp_path, "cache", "ls")
    assert empty.status == 0 and "0.0 MB of at most 20,000 MB" in empty.out
    assert not (tmp_path / "data").exists()
    store = tmp_path / "data" / "store"
    lines(job(store, "arms=[{name: real}]", "generators={}"))
    listed = augpipe(tmp_path, "cache", "ls").out
    assert "train_classifier" in listed and "score" in listed
    for item in pruning.items(Store(store)):
        aged(item.path, 1)
    assert "tracked runs: 0.0 MB" in listed
    pruned = augpipe(tmp_path, "cache", "prune", "--older-than", "2d", "--runs").out
    assert "deleted 0 tracked runs and 0 models, 0.0 MB" in pruned and "removed 0 files" in pruned
    assert "removed 0" not in augpipe(tmp_path, "cache", "prune", "--older-than", "23h").out
    assert not pruning.items(Store(store))
    wrong = augpipe(tmp_path, "cache", "prune", "--older-than", "soon")
    assert wrong.status == 2 and wrong.err.count("\n") == 1 and "'soon'" in wrong.err
