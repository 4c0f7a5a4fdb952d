"""`augpipe balance` as a user runs it: gates that hold, that do not, and that are overridden."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from in_process import call
from jobs import make_work
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from tiny import CONFIG, ONE, Ran, augpipe

from augpipe.core.store import load_images
from augpipe.report.out import BALANCED_FILES

QUICK = CONFIG.replace("{images: 12}", "{images: 10, gan_train: false}").replace(
    "steps: 12",
    "steps: 30",  # SMOTE's images are told apart by then
)


def balance(place: Path, arm: str, *more: str) -> Ran:
    (place / "tiny.yaml").write_text(QUICK)
    # One worker: the work is little, and each further one takes seconds to come up. On one thread, as all tests.
    sets = ("--set", "runner.workers=1", "runner.threads=1")
    return augpipe(place, "balance", "tiny.yaml", "--arm", arm, *sets, *more)


def own_lines(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("augpipe:")]


def runs(place: Path, kind: str) -> list[Run]:
    """Of that kind in the place's tracking store, the last one first."""
    uri = f"sqlite:///{place / 'data' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`augpipe.kind` = '{kind}'")
    return list(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("balance")


@pytest.fixture(scope="module")
def held(place: Path) -> Ran:
    """SMOTE, curated; a gate that a classifier of its own train images must hold."""
    return balance(
        place,
        "smote",
        "--out",
        "held",
        "--seed",
        "5",
        "--set",
        "arms.smote.mix.curated=true",
        "--set",
        "arms.smote.mix.fill={7: 30, 8: 25}",
        "--set",
        "gate=[agreement > 0.5]",
    )


def test_a_set_whose_gates_hold_is_published(held: Ran, place: Path) -> None:
    assert held.status == 0, held.err[-3000:]
    assert "gate agreement > 0.5: holds (" in held.out and "balanced set: held" in held.out
    assert own_lines(held.err) == [] and "Traceback" not in held.err
    assert "seed 5 is not one of the config's (0, 1): its generator is trained for this alone" in held.err
    out = place / "held"
    table = pd.read_csv(out / "manifest.csv", dtype=str, keep_default_na=False)
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert there == {*BALANCED_FILES, *table["file"]}
    card = json.loads((out / "card.json").read_text())
    made = table[table["origin"] == "synthetic"]
    counts = made.groupby("class").size()
    for name, n in card["synthetic"].items():
        assert counts.get(name, 0) == n
        assert n + card["missing"].get(name, 0) == {"7": 30, "8": 25}.get(name, 0)
    assert card["arm"] == "smote" and card["generator"]["seed"] == 5 and set(made["seed"]) == {"5"}
    assert card["override"] is None and [g["holds"] for g in card["gates"]] == [True]
    assert card["checks"]["curated"] and 0 < card["checks"]["kept"]["kept"] <= 1
    assert set(made["parent"]) <= set(table[table["origin"] == "real"]["id"])
    with Image.open(out / made["file"].iloc[0]) as picture:
        assert np.array(picture).shape == (16, 16)
    with Image.open(out / table["file"].iloc[0]) as picture:  # real, at its own size
        assert np.array(picture).shape == (8, 8) and card["made_from"]["real_size"] == "original"
    assert not (place / "home" / "data").exists() and not list((place / "home").iterdir())


def test_a_balanced_set_is_tracked(held: Ran, place: Path) -> None:
    (run,) = runs(place, "balanced set")
    (parent,) = runs(place, "balance")
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status, parent.info.status} == {"FINISHED"}
    tags = {key: run.data.tags[f"augpipe.{key}"] for key in ("arm", "generator", "seed", "published")}
    assert tags == {"arm": "smote", "generator": "smote", "seed": "5", "published": "true"}
    assert run.data.tags["augpipe.override"] == ""
    card = json.loads((place / "held" / "card.json").read_text())
    metrics = run.data.metrics
    assert metrics["fidelity/agreement"] == pytest.approx(card["figures"]["agreement"]["value"])
    assert metrics["fidelity/kept"] == pytest.approx(card["checks"]["kept"]["kept"])
    assert metrics["fidelity/kept.copies/7"] == pytest.approx(card["checks"]["kept"]["kept.copies/7"])
    assert run.data.params["gate.0"].startswith("agreement > 0.5: True")
    used = [i for i in run.inputs.dataset_inputs if i.tags[0].value == "synthetic"]
    assert len(used) == 1
    files = {a.path for a in MlflowClient().list_artifacts(run.info.run_id)}
    assert files == set(BALANCED_FILES)
    assert [r.data.tags["augpipe.seed"] for r in runs(place, "generator")] == ["5"]


@pytest.fixture(scope="module")
def broken(place: Path) -> Ran:
    """SMOTE, uncurated, and the default gate: what lies between train images is too near to them."""
    return balance(place, "smote", "--out", "broken", "--set", "arms.smote.mix.fill={7: 30, 8: 25}")


def test_a_gate_that_does_not_hold_publishes_nothing(broken: Ran, place: Path) -> None:
    assert broken.status == 3, broken.err[-3000:]
    assert not (place / "broken").exists()
    lines = own_lines(broken.err)
    assert len(lines) == 1 and "a gate does not hold, and nothing was published" in lines[0]
    assert "--override" in lines[0] and "Traceback" not in broken.err
    assert "gate memorisation.p > 0.01: does not hold (0.00" in broken.out
    assert "balanced set:" not in broken.out
    run = runs(place, "balanced set")[0]
    assert run.data.tags["augpipe.arm"] == "smote" and run.data.tags["augpipe.published"] == "false"
    assert run.data.params["gate.0"].startswith("memorisation.p > 0.01: False")
    assert run.data.metrics["fidelity/memorisation.p"] < 0.01
    assert not MlflowClient().list_artifacts(run.info.run_id)


def test_an_override_publishes_and_is_recorded(broken: Ran, place: Path) -> None:
    reason = "a trial, see ticket 7"
    done = balance(
        place,
        "smote",
        "--out",
        "broken",
        "--set",
        "arms.smote.mix.fill={7: 30, 8: 25}",
        "--override",
        reason,
        "--format",
        "npz",
    )
    assert done.status == 0, done.err[-3000:]
    # The same seed makes the same images, and they are as near to train as before.
    gate = next(line for line in broken.out.splitlines() if line.startswith("gate "))
    assert gate in done.out and "balanced set: broken" in done.out
    card = json.loads((place / "broken" / "card.json").read_text())
    assert card["override"] == reason and card["gates"][0]["holds"] is False
    assert card["synthetic"] == {**dict.fromkeys(card["synthetic"], 0), "7": 30, "8": 25}
    assert card["missing"] == {} and card["checks"]["kept"] == {}
    assert card["checks"]["curated"] is False
    assert reason in (place / "broken" / "card.md").read_text()
    with np.load(place / "broken" / "images.npz") as arrays:  # one size for all, that of the run
        assert arrays["train_images"].shape[1:] == arrays["test_images"].shape[1:] == (16, 16)
        counts = np.bincount(arrays["train_labels"][:, 0])
    assert counts.sum() == 55 + sum(card["made_from"]["real"].values())
    # What was reused keeps its time: this run began when the one before it did, which published nothing.
    (run,) = [r for r in runs(place, "balanced set") if r.data.tags["augpipe.override"]]
    assert run.data.tags["augpipe.override"] == reason
    assert run.data.tags["augpipe.published"] == "true"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--arm", "acgna"], "unknown arm with a generator 'acgna' (did you mean 'acgan'?); choose from smote, acgan"),
        (["--arm", "smote", "--set", "arms.smote.mix.fill=search"], "searches its fill on val"),
        (["--arm", "classic"], "unknown arm with a generator 'classic'; choose from smote, acgan"),
        (["--arm", "acgan", "--override", " "], "--override needs a reason"),
        (["--arm", "acgan", "--override", ""], "--override needs a reason"),
        (["--arm", "acgan", "--seed", "-1"], "a seed must be 0 or more; got -1"),
        (["--arm", "acgan", "--set", "gate=[agreemnt > 1]"], "'agreemnt' (did you mean 'agreement'?); the closest of "),
        (["--arm", "acgan", "--set", "gate=[agreement > x]"], "needs a number after >; got 'x'"),
        (
            ["--arm", "acgan", "--set", "curation.checks=[blink]"],
            "unknown check 'blink' (did you mean 'blank'?); choose from blank",
        ),
        (["--arm", "acgan", "--out", "mine"], "holds 'mine.txt', which is not a file of a balanced set"),
        (["--arm", "acgan", "--out", "tiny.yaml"], "is a file"),
        (["--arm", "acgan", "--out", "images/out"], "lies in the image folder"),
        (["--arm", "acgan", "--out", "data"], "AUGPIPE_HOME"),
        ([], "--arm"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    # A place that has no Prefect server and could start none: work never begins.
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    source = "source: {kind: folder, path: images}"
    config = QUICK.replace("source: {kind: bundled, name: digits}", source)
    (tmp_path / "tiny.yaml").write_text(config if "images/out" in arguments else QUICK)
    for folder in ("mine", "images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("dear")
    status, said = call(monkeypatch, capsys, "balance", "tiny.yaml", *arguments)
    assert status == 2 and told in said, said
    assert said.startswith("augpipe: ") and "\n" not in said
    assert (tmp_path / "mine" / "mine.txt").read_text() == "dear"
    assert {p.name for p in tmp_path.iterdir()} <= {"tiny.yaml", "mine", "images", "data"}
    assert not (tmp_path / "data" / "store").exists()


def test_the_set_of_a_replicate_stands_on_its_own_split(tmp_path: Path) -> None:
    """Under resplit the train side of the experiment's one split may hold what is test in the replicate."""
    done = balance(
        tmp_path,
        "smote",
        "--out",
        "out",
        "--seed",
        "1",
        "--set",
        "resplit=true",
        "--set",
        "gate=[]",
        "--set",
        "arms.smote.mix={fill: {7: 5}}",
    )
    assert done.status == 0, done.err[-3000:]
    table = pd.read_csv(tmp_path / "out" / "manifest.csv", dtype=str, keep_default_na=False)
    work = make_work(tmp_path / "again", "resplit=true", "arms.smote.mix={fill: {7: 5}}")
    own, one = (set(load_images(work.prepare(seed).splits.train).table["id"]) for seed in (1, None))
    assert set(table[table["origin"] == "real"]["id"]) == own != one


def test_a_set_of_a_finished_run_trains_nothing(tmp_path: Path, single: Ran) -> None:
    """What is published is what the run's report is about: only its fidelity is measured."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    shutil.copytree(single.home / "store", tmp_path / "data" / "store")
    records = tmp_path / "data" / "store" / "records"
    # Each is written once and renamed: another of its name would be another file.
    before = {p.name: (p.stat().st_ino, p.read_bytes()) for p in records.iterdir()}
    sets = [part for one in (*ONE, "runner.workers=1", "gate=[]") for part in ("--set", one)]
    done = augpipe(tmp_path, "balance", "tiny.yaml", "--arm", "acgan", "--out", "set", *sets, "--json")
    assert done.status == 0, done.err[-3000:]
    assert json.loads(done.out) == {"arm": "acgan", "seed": 0, "gates": [], "published": True, "out": "set"}
    after = {p.name: (p.stat().st_ino, p.read_bytes()) for p in records.iterdir()}
    assert {name: after[name] for name in before} == before
    new = [name.rpartition("-")[0] for name in set(after) - set(before)]
    assert new == ["measure_synthetic"]
    table = pd.read_csv(tmp_path / "set" / "manifest.csv", dtype=str, keep_default_na=False)
    summary = json.loads((single.folder / "summary.json").read_text())
    made = table[table["origin"] == "synthetic"].groupby("class").size().to_dict()
    counts = summary["arms"]["acgan"]["synthetic_counts"]
    assert made == {name: n for name, n in counts.items() if n}
