"""`augpipe train`: one generator through the real engine; killed, resumed, refused. And one model a class."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import mlflow
import pandas as pd
import pytest
import warm
from in_process import call
from mlflow import MlflowClient
from PIL import Image
from process_trees import family, is_running
from tiny import CONFIG, augpipe, begin

from augpipe.core.store import load_state

PER_CLASS = CONFIG.replace("seeds: 3", "seeds: 1").replace("name: tiny", "name: parts").replace(
    "  acgan: {kind: acgan, kimg: 1, ticks: 2, width: 0.06, latent: 16, batch: 50}",
    "  acgan: {kind: acgan, kimg: 1, ticks: 2, width: 0.06, latent: 16, batch: 50}\n"
    "  dcgan: {kind: dcgan, kimg: 0.5, ticks: 2, width: 4, latent: 16, batch: 25, per_class: true, pretrain: 0.5, pretrain_below: 100}",
)  # fmt: skip
# One thread: on a busy machine two wait for each other at every one of these small layers.
OPTIONS = [
    "--generator", "acgan", "--set", "generators.acgan.kimg=4", "--set", "generators.acgan.ticks=12",
    "--set", "generators.acgan.patience=null", "--set", "runner.workers=2",
]  # fmt: skip


def place(tmp_path: Path, config: str = CONFIG) -> Path:
    (tmp_path / "tiny.yaml").write_text(config)
    return tmp_path


def final(folder: Path) -> dict[str, object]:
    return load_state(folder / "checkpoint.pt")


def test_killed_and_resumed_it_gives_the_same_checkpoint_to_the_byte(tmp_path: Path) -> None:
    here = place(tmp_path)
    whole = augpipe(here, "train", "tiny.yaml", "--out", "whole", *OPTIONS)
    assert whole.status == 0, whole.err[-2000:]
    assert {p.name for p in (here / "whole").iterdir()} == {
        "checkpoint.pt", "history.csv", "samples.png", "last.pt",
    }  # fmt: skip
    assert "best at" in whole.out and "the budget is spent" in whole.out
    with Image.open(here / "whole" / "samples.png") as picture:
        assert picture.width > 100

    # Under a home of its own: in the first one the trained generator is reused from the cache.
    other_home = {"AUGPIPE_HOME": str(here / "other")}
    process = begin(here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, **other_home)
    until = time.monotonic() + 240
    last = here / "broken" / "last.pt"
    while not last.exists():  # the first of twelve ticks is stored
        assert is_running(process.pid) and time.monotonic() < until
        time.sleep(0.02)
    for pid in family(process.pid):  # the run and its workers
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (here / "broken" / "checkpoint.pt").exists()

    # Under other settings it is refused, and what differs is named.
    other = augpipe(
        here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, "--resume",
        "--set", "generators.acgan.learning_rate=0.5", **other_home,
    )  # fmt: skip
    assert other.status == 2 and "config.learning_rate is 0.5 here and was 0.0002" in other.err
    assert other.err.strip().count("\n") <= 1, other.err
    # So is another generator's, or another seed's, before anything is done.
    for options, what in (
        (["--generator", "smote"], "generator is 'smote' here and was 'acgan'"),
        (["--generator", "acgan", "--seed", "1"], "seed is 1 here and was 0"),
        (["--generator", "acgan", "--set", "generators.acgan.per_class=true"], "per_class is True here and was False"),
    ):  # fmt: skip
        other = augpipe(
            here, "train", "tiny.yaml", "--out", "broken", "--resume", *options, **other_home
        )
        assert other.status == 2 and what in other.err, other.err
    # Begun anew in the same place, likewise.
    again = augpipe(here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, **other_home)
    assert again.status == 2 and "continue it with --resume" in again.err

    # What a kill in the middle of a write leaves is its own, and goes.
    (here / "broken" / ".last.pt.deadbeef.tmp").write_bytes(b"half")
    before = last.stat().st_mtime_ns
    resumed = augpipe(
        here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, "--resume", **other_home
    )
    assert resumed.status == 0, resumed.err[-2000:]
    assert last.stat().st_mtime_ns > before
    assert not list((here / "broken").glob(".*"))
    ours, theirs = ((here / f / "checkpoint.pt").read_bytes() for f in ("whole", "broken"))
    assert ours == theirs
    history = [pd.read_csv(here / f / "history.csv") for f in ("whole", "broken")]
    history = [told[told.metric != "images_per_second"].drop(columns="seconds") for told in history]
    assert history[0].equals(history[1])  # the ticks before the kill are there too


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--generator", "acgna"], "unknown generator 'acgna' (did you mean 'acgan'?)"),
        (["--generator", "acgan", "--seed", "-3"], "a seed must be 0 or more; got -3"),
        (["--generator", "acgan", "--resume"], "no training to resume in"),
        (["--generator", "acgan", "--out", "full"], "contains 'mine.txt', which is not a training file"),
        (["--generator", "acgan", "--out", "junk", "--resume"], "last.pt is not an augpipe checkpoint, or is damaged"),
        (["--generator", "acgan", "--set", "generators.acgan.pretrain=1"], "set per_class: true"),
        (["--generator", "smote", "--set", "generators.smote.per_class=true"], "trains no model"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], told: str, monkeypatch, capsys
) -> None:
    here = place(tmp_path)
    for folder, name in (("full", "mine.txt"), ("junk", "last.pt")):
        (here / folder).mkdir()
        (here / folder / name).write_text("mine")
    monkeypatch.chdir(here)
    monkeypatch.setenv("AUGPIPE_HOME", str(here / "data"))
    # A place that has no Prefect server and could start none: work never begins.
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    status, said = call(monkeypatch, capsys, "train", "tiny.yaml", *arguments)
    assert status == 2, said
    assert said.startswith("augpipe: ") and "\n" not in said and told in said, said
    assert (here / "full" / "mine.txt").read_text() == "mine"
    assert (here / "junk" / "last.pt").read_text() == "mine"


def test_images_of_a_generator_of_no_arm_are_checked_too(tmp_path: Path) -> None:
    """Once they have been looked at, which takes a server."""
    lonely = "  lonely: {kind: acgan, kimg: 1, width: 0.06}  # in no arm\nclassifier:"
    here = place(tmp_path, CONFIG.replace("classifier:", lonely))
    done = augpipe(here, "train", "tiny.yaml", "--generator", "lonely", "--set", "image.size=36")
    assert done.status == 2 and "image size 36 is not 4, 5, 6 or 7 doubled" in done.err, done.err
    assert "Traceback" not in done.err and len(done.err.strip().splitlines()) == 1


def test_one_model_a_class_each_its_own_task_checkpoint_and_run(tmp_path: Path) -> None:
    here = place(tmp_path, PER_CLASS)
    done = augpipe(here, "train", "tiny.yaml", "--generator", "dcgan", "--out", "out")
    assert done.status == 0, done.err[-2000:]
    names = {p.name for p in (here / "out").iterdir()}
    assert names == {
        "checkpoint.pt", "history.csv", "samples.png", "last-all.pt", *(f"last-{c}.pt" for c in range(10)),
    }  # fmt: skip
    parts = final(here / "out")["state"]["parts"]  # type: ignore[index]
    assert set(parts) == set(range(10))
    uri = f"sqlite:///{here / 'data' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("parts")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    told = [
        r.data.tags.get("augpipe.part")
        for r in runs
        if r.data.tags["augpipe.kind"] == "generator part"
    ]
    assert sorted(told) == sorted(["all", *map(str, range(10))])  # type: ignore[type-var]
    assert sum(r.data.tags["augpipe.kind"] == "generator" for r in runs) == 1
    # Task runs reach the server as events, which it takes in shortly after.
    asked = {"limit": 200, "flow_runs": {"name": {"like_": "parts: "}}}
    for _ in range(40):
        found = httpx.post(f"{warm.prefect()}/task_runs/filter", json=asked).json()
        tasks = [one["name"] for one in found]
        if "join dcgan, seed 0" in tasks and len(tasks) >= 12:
            break
        time.sleep(0.5)
    for label in range(10):
        assert f"dcgan, class {label}, seed 0" in tasks
    assert "dcgan, all classes, seed 0" in tasks and "join dcgan, seed 0" in tasks
    # Digits 7 to 9 keep a tenth, under 100 images: they start from the model of all classes.
    starts = {c: load_state(here / "out" / f"last-{c}.pt")["header"]["start"] for c in range(10)}
    assert [c for c, start in starts.items() if start] == [7, 8, 9]
