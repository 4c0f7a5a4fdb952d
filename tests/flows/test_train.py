"""`augpipe train`: one generator through the real engine; killed, resumed, refused. And one model a class."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from servers import no_server
from tiny import CONFIG, augpipe, begin

from augpipe.core.images import ImageSet
from augpipe.core.store import load_state

PER_CLASS = """
name: parts
source: {kind: folder, path: pictures}
image: {size: 16, channels: 1}
generators:
  dcgan: {kind: dcgan, kimg: 0.2, ticks: 2, width: 4, latent: 16, batch: 10, per_class: true, pretrain: 0.2, pretrain_below: 20}
classifier: {width: 0.25, steps: 10, batch: 32, evaluations: 1}
arms:
  - {name: real}
  - {name: dcgan, generator: dcgan, mix: {fill: auto}}
baseline: real
seeds: 1
runner: {workers: 1, threads: 1}
"""
# One thread: on a busy machine two wait for each other at every one of these small layers.
OPTIONS = [
    "--generator",
    "acgan",
    "--set",
    "generators.acgan.kimg=1",
    "--set",
    "generators.acgan.ticks=5",
    "--set",
    "generators.acgan.patience=null",
    "--set",
    "runner.workers=1",
    "--set",
    "runner.threads=1",
]


def place(tmp_path: Path, config: str = CONFIG) -> Path:
    (tmp_path / "tiny.yaml").write_text(config)
    return tmp_path


def final(folder: Path) -> dict[str, object]:
    return load_state(folder / "checkpoint.pt")


@pytest.fixture
def unanswering() -> Iterator[str]:
    """Address of an MLflow server with which no training begins."""
    with no_server() as address:
        yield address


def test_killed_and_resumed_it_gives_the_same_checkpoint_to_the_byte(
    tmp_path: Path, monkeypatch, capsys, unanswering: str
) -> None:
    here = place(tmp_path)
    whole = augpipe(here, "train", "tiny.yaml", "--out", "whole", *OPTIONS)
    assert whole.status == 0, whole.err[-2000:]
    assert {p.name for p in (here / "whole").iterdir()} == {"checkpoint.pt", "history.csv", "samples.png"}
    assert "best at" in whole.out and "the budget is spent" in whole.out
    with Image.open(here / "whole" / "samples.png") as picture:
        assert picture.width > 100

    # Under a home of its own: in the first one the trained generator is reused from the cache.
    other_home = {"AUGPIPE_HOME": str(here / "other")}
    process = begin(here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, **other_home)
    until = time.monotonic() + 240
    last = here / "broken" / "last.pt"
    while not last.exists():  # the first of five ticks is stored
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
        here,
        "train",
        "tiny.yaml",
        "--out",
        "broken",
        *OPTIONS,
        "--resume",
        "--set",
        "generators.acgan.learning_rate=0.5",
        **other_home,
    )
    assert other.status == 2 and "config.learning_rate is 0.5 here and was 0.0002" in other.err
    lines = [line for line in other.err.splitlines() if not line.startswith("starting: ")]
    assert len(lines) <= 2, other.err
    # So is another generator's, or another seed's, before anything is done.
    monkeypatch.chdir(here)
    monkeypatch.setenv("AUGPIPE_HOME", other_home["AUGPIPE_HOME"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", unanswering)  # work never begins
    for options, what in (
        (["--generator", "smote"], "generator is 'smote' here and was 'acgan'"),
        (["--generator", "acgan", "--seed", "1"], "seed is 1 here and was 0"),
        (["--generator", "acgan", "--set", "generators.acgan.per_class=true"], "per_class is True here and was False"),
    ):
        status, line = call(monkeypatch, capsys, "train", "tiny.yaml", "--out", "broken", "--resume", *options)
        assert status == 2 and what in line, line
    # Begun anew in the same place, likewise.
    status, line = call(monkeypatch, capsys, "train", "tiny.yaml", "--out", "broken", *OPTIONS)
    assert status == 2 and "continue it with --resume" in line

    # What a kill in the middle of a write leaves is its own, and goes.
    writer = "from augpipe.core.files import beside; import os, pathlib\n"
    writer += "with beside(pathlib.Path('last.pt')) as draft: draft.write_bytes(b'half'); os._exit(9)"
    subprocess.run([sys.executable, "-c", writer], cwd=here / "broken", check=False)
    assert len(list((here / "broken").glob(".last.pt.*.tmp"))) == 1
    before = load_state(last)["ticks"][0]["seconds"]
    monkeypatch.undo()
    resumed = augpipe(here, "train", "tiny.yaml", "--out", "broken", *OPTIONS, "--resume", **other_home)
    assert resumed.status == 0, resumed.err[-2000:]
    assert not last.exists() and not list((here / "broken").glob(".*"))
    ours, theirs = ((here / f / "checkpoint.pt").read_bytes() for f in ("whole", "broken"))
    assert ours == theirs
    history = [pd.read_csv(here / f / "history.csv") for f in ("whole", "broken")]
    seconds = history[1]["seconds"].iloc[0]
    history = [told[told.metric != "images_per_second"].drop(columns="seconds") for told in history]
    assert history[0].equals(history[1])
    assert seconds == pytest.approx(before)  # the ticks before the kill are there too


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--generator", "acgna"], "unknown generator 'acgna' (did you mean 'acgan'?)"),
        (["--generator", "acgan", "--seed", "-3"], "a seed must be 0 or more; got -3"),
        (["--generator", "acgan", "--out", "done", "--resume"], "the training in done is complete"),
        (["--generator", "acgan", "--out", "left", "--resume"], "the training in left is complete"),
        (["--generator", "acgan", "--out", "left"], "no MLflow server answers"),
        (["--generator", "acgan", "--out", "again"], "continue it with --resume"),
        (["--generator", "acgan", "--out", "full"], "contains 'mine.txt', which is not a training file"),
        (["--generator", "acgan", "--out", "junk", "--resume"], "last.pt is not an augpipe checkpoint, or is damaged"),
        (["--generator", "acgan", "--set", "generators.acgan.pretrain=1"], "set per_class: true"),
        (["--generator", "smote", "--set", "generators.smote.per_class=true"], "trains no model"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], told: str, monkeypatch, capsys, unanswering: str
) -> None:
    here = place(tmp_path)
    for folder, name in (("full", "mine.txt"), ("junk", "last.pt"), ("done", "checkpoint.pt")):
        (here / folder).mkdir()
        (here / folder / name).write_text("mine")
    # Killed before it removed its checkpoint; and repeated, and killed then.
    for folder, age in (("left", 60), ("again", -60)):
        (here / folder).mkdir()
        for name in ("last.pt", "checkpoint.pt", "history.csv", "samples.png"):
            (here / folder / name).write_text("mine")
        when = time.time() - age
        os.utime(here / folder / "last.pt", (when, when))
    monkeypatch.chdir(here)
    monkeypatch.setenv("AUGPIPE_HOME", str(here / "data"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", unanswering)  # work never begins
    status, said = call(monkeypatch, capsys, "train", "tiny.yaml", *arguments)
    assert status == 2, said
    assert said.startswith("augpipe: ") and "\n" not in said and told in said, said
    assert (here / "full" / "mine.txt").read_text() == "mine"
    assert (here / "junk" / "last.pt").read_text() == "mine"


def test_what_was_stopped_before_its_first_checkpoint_starts_again(
    tmp_path: Path, monkeypatch, capsys, unanswering: str
) -> None:
    """The message of a stopped training names --resume, which must not refuse then."""
    here = place(tmp_path)
    monkeypatch.chdir(here)
    monkeypatch.setenv("AUGPIPE_HOME", str(here / "data"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", unanswering)  # it is not to train
    arguments = ("train", "tiny.yaml", "--generator", "acgan", "--out", "out", "--resume")
    _, output = call(monkeypatch, capsys, *arguments)
    first, second = output.splitlines()
    assert first == "no checkpoint in out yet; the training starts from the beginning"
    assert "no MLflow server answers" in second


def test_one_model_a_class_each_its_own_task_checkpoint_and_run(
    tmp_path: Path, make_shapes: Callable[..., ImageSet], make_folder: Callable[..., Path]
) -> None:
    here = place(tmp_path, PER_CLASS)
    make_folder(here / "pictures", make_shapes((60, 24, 18), seed=1))
    done = augpipe(here, "train", "tiny.yaml", "--generator", "dcgan", "--out", "out")
    assert done.status == 0, done.err[-2000:]
    names = {p.name for p in (here / "out").iterdir()}
    assert names == {"checkpoint.pt", "history.csv", "samples.png"}
    parts = final(here / "out")["state"]["parts"]  # type: ignore[index]
    assert set(parts) == {0, 1, 2}
    uri = f"sqlite:///{here / 'data' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("parts")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    told = [r.data.tags.get("augpipe.part") for r in runs if r.data.tags["augpipe.kind"] == "generator part"]
    assert sorted(told) == ["all", "c0", "c1", "c2"]  # type: ignore[type-var]
    assert sum(r.data.tags["augpipe.kind"] == "generator" for r in runs) == 1
    # Task runs reach the server as events, which it takes in shortly after.
    asked = {"limit": 200, "flow_runs": {"name": {"like_": "parts: "}}}
    for _ in range(40):
        found = httpx.post(f"{warm.prefect()}/task_runs/filter", json=asked).json()
        tasks = [one["name"] for one in found]
        if "join dcgan, seed 0" in tasks and len(tasks) >= 5:
            break
        time.sleep(0.5)
    for label in range(3):
        assert f"dcgan, class c{label}, seed 0" in tasks
    assert "dcgan, all classes, seed 0" in tasks and "join dcgan, seed 0" in tasks
    # Two classes have under 20 images: they start from the model of all.
    records = (here / "data" / "store" / "records").glob("train_generator-*.json")
    inputs = [json.loads(record.read_text())["depends_on"]["inputs"] for record in records]
    assert len(inputs) == 4
    assert sorted(each["spec"]["label"] for each in inputs if each["start"]) == [1, 2]
