"""Random kills of any process: PYTHONPATH=tests python tests/benchmarks/bench_kills.py --out FOLDER [--kills 200]
[--seed 0].

Three kinds of command (run, train, balance) on the tiny experiment of the tests. Again and again a command is started,
one of its processes or all of them are killed with SIGKILL at a random moment, and the same command is started again,
until one is through. Then its files must be those of an undisturbed command to the byte, no process may be left 15
seconds after a kill, no draft in its folders and no run open in MLflow. Each kill is appended to FOLDER/kills.csv: the
same command goes on from there. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
import warm
from process_trees import family, is_running
from tiny import CONFIG, ONE, environment

SETS = tuple(part for one in (*ONE, "gate=[]") for part in ("--set", one))
KINDS = {
    "run": ("run", "tiny.yaml", "--out", "out", *SETS),
    "train": ("train", "tiny.yaml", "--generator", "acgan", "--out", "out", *SETS),
    "balance": ("balance", "tiny.yaml", "--arm", "acgan", "--out", "out", *SETS),
}
VICTIMS = ("tree", "main", "server", "worker")
PATIENCE = 15.0  # seconds until every process has ended after a kill of the main one or of all
LIMIT = 300.0  # seconds for a command to end after one of its processes was killed


@dataclass(frozen=True)
class Kill:
    """One kill. status: of the command. ended: seconds until all processes were gone. equal: of the finished files."""

    kind: str
    victim: str
    moment: float
    status: int
    ended: float
    left: int
    equal: str = ""  # of the last kill before a command was through: yes, or what differs


def start(place: Path, kind: str, again: bool) -> warm.Running:
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.yaml").write_text(CONFIG)
    command = KINDS[kind]
    if again and kind == "train":
        command += ("--resume",)
    with Path(os.devnull).open("rb") as nothing, (place / "log").open("ab") as log:
        return warm.Running(place, command, environment(place), (nothing, log, log))


def digests(place: Path) -> dict[str, str]:
    """SHA-256 of what a command wrote; of files that hold times only that they are there."""
    out = place / "out"
    names = [out / "scores.csv", out / "fidelity.csv", out / "checkpoint.pt", out / "manifest.csv"]
    pictures = [path for path in out.rglob("*.png") if (out / "manifest.csv").exists()]
    compared = {path for path in (*names, *pictures) if path.exists()}
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() if path in compared else "there"
        for path in out.rglob("*")
        if path.is_file()
    }


def remains(place: Path) -> list[str]:
    """Drafts and open runs that a finished command has left; a Prefect folder is swept a minute after its run."""
    found = [str(p.relative_to(place)) for p in (place / "out").glob(".*")]
    found += [p.name for p in (place / "data" / "store").rglob("*.tmp")]
    with closing(sqlite3.connect(place / "data" / "mlflow.db")) as base:
        found += [name for (name,) in base.execute("select name from runs where status = 'RUNNING'")]
    return found


def victims(process: warm.Running, victim: str) -> list[int]:
    below = family(process.pid)
    if victim in ("tree", "main"):
        return below if victim == "tree" else below[:1]
    servers = [pid for pid in below if b"server_process" in command_of(pid)]
    chosen = servers if victim == "server" else [pid for pid in below[1:] if pid not in servers]
    return chosen[:1] if victim == "server" else random.sample(chosen, min(1, len(chosen)))


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_through(place: Path, status: int) -> bool:
    """Whether the command has done all: status 0, or a training that says it has nothing to resume."""
    last = (place / "log").read_text(errors="replace").splitlines()[-1:]
    return status == 0 or (status == 2 and any("is complete" in line for line in last))


def kill(place: Path, kind: str, victim: str, moment: float, again: bool) -> Kill | int:
    """Start the command and kill at this moment; its status if it had ended before."""
    process = start(place, kind, again)
    until = time.monotonic() + moment
    while time.monotonic() < until and is_running(process.pid):
        time.sleep(0.02)
    below, chosen = family(process.pid), victims(process, victim)
    if not is_running(process.pid) or not chosen:
        return process.wait(LIMIT)
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    status = process.wait(LIMIT)
    until = time.monotonic() + PATIENCE
    while (left := [pid for pid in below if is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    ended = round(time.monotonic() - begun, 1)
    return Kill(kind, victim, round(moment, 1), status, ended, len(left))


def cycle(out: Path, kind: str, whole: float, rng: random.Random, kills: int) -> list[Kill]:
    """Kill a command up to `kills` times, then let it end and compare its files with the undisturbed one's."""
    place, done, through = out / "broken", [], False
    shutil.rmtree(place, ignore_errors=True)
    for turn in range(kills):
        one = kill(place, kind, rng.choice(VICTIMS), rng.uniform(0.2, whole), turn > 0)
        if isinstance(one, Kill):
            done.append(one)
        if through := is_through(place, one.status if isinstance(one, Kill) else one):
            break
    if not through and not is_through(place, start(place, kind, True).wait(LIMIT)):
        raise RuntimeError(f"{kind} could not go on: {(place / 'log').read_text()[-3000:]}")
    wanted, got = digests(out / kind), digests(place)
    differing = sorted(name for name in {*wanted, *got} if wanted.get(name) != got.get(name))
    problems = [*differing[:3], *remains(place)[:3]]
    if done:
        done[-1] = Kill(**{**asdict(done[-1]), "equal": "; ".join(problems) or "yes"})
    return done


def undisturbed(place: Path, kind: str) -> float:
    """Seconds of the command that is not disturbed, or of that of an earlier start of this benchmark."""
    seconds = place / "seconds"
    if not seconds.exists():
        shutil.rmtree(place, ignore_errors=True)
        begun = time.monotonic()
        assert start(place, kind, False).wait(LIMIT) == 0, place / "log"
        seconds.write_text(str(time.monotonic() - begun))
    return float(seconds.read_text())


def table(rows: pd.DataFrame) -> str:
    lines = [
        "| command | killed | kills | statuses | longest end, s | left | finished commands equal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (kind, victim), group in rows.groupby(["kind", "victim"], sort=False):
        statuses = ", ".join(f"{n} x {s}" for s, n in group.status.value_counts().items())
        compared = group[group.equal != ""]
        equal = f"{(compared.equal == 'yes').sum()} of {len(compared)}"
        lines.append(
            f"| {kind} | {victim} | {len(group)} | {statuses} | {group.ended.max():g} | {group.left.sum()} | {equal} |"
        )
    return "\n".join(lines)


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file, columns = given.out / "kills.csv", [field.name for field in fields(Kill)]
    took: dict[str, float] = {}
    for kind in KINDS:
        took[kind] = undisturbed(given.out / kind, kind)
        print(f"undisturbed {kind}: {took[kind]:.0f} s", flush=True)
    for turn in itertools.count():  # in the seed: the command of a turn may end before its kill
        rows = pd.read_csv(file, keep_default_na=False) if file.exists() else pd.DataFrame()
        if len(rows) >= given.kills:
            break
        rng = random.Random(f"{given.seed} {len(rows)} {turn}")
        random.seed(rng.random())
        kind = rng.choice(list(KINDS))
        done = cycle(given.out, kind, took[kind], rng, min(4, given.kills - len(rows)))
        if not done:
            continue
        new = pd.DataFrame([asdict(one) for one in done], columns=columns)
        new.to_csv(file, mode="a", header=not file.exists(), index=False)
        print(new.to_string(index=False, header=False), flush=True)
    print(table(rows))
    bad = rows[(rows["left"] > 0) | ~rows["equal"].isin(["", "yes"])]
    sys.exit(1 if len(bad) else 0)


if __name__ == "__main__":
    main()
