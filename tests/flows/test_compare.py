"""The main job through the real Prefect engine and a real MLflow store, as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import warm
from in_process import call
from mlflow import MlflowClient
from mlflow.entities import Run
from scipy import stats
from tiny import CONFIG, Ran, augpipe, beside, rows_of_first_seed, tracking

from augpipe.classifiers.search import SHARES
from augpipe.core.files import digest
from augpipe.synthetic import fidelity

ARMS = ("real", "classic", "smote", "acgan")


@pytest.fixture(scope="module")
def ran(whole: Ran) -> Ran:
    """A run with nothing given: its own Prefect server, its own MLflow file."""
    return whole


@pytest.fixture(scope="module")
def client(ran: Ran) -> MlflowClient:
    uri = f"sqlite:///{ran.home / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri)


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def children(runs: list[Run], kind: str) -> list[Run]:
    parent = next(r for r in runs if r.data.tags["augpipe.kind"] == "comparison")
    return [
        r
        for r in runs
        if r.data.tags["augpipe.kind"] == kind and r.data.tags["mlflow.parentRunId"] == parent.info.run_id
    ]


def test_the_out_folder_is_whole_and_alone(ran: Ran) -> None:
    assert {p.name for p in ran.folder.iterdir()} == {
        "report.html",
        "scores.csv",
        "fidelity.csv",
        "summary.json",
        "experiment.yaml",
        "samples",
        "quarantine.csv",
        "predictions.csv",
        "models",
        "quiz",
        "differences.csv",
    }
    assert {p.name for p in (ran.folder / "quiz").iterdir()} == {"acgan.html", "smote.html"}
    assert {p.name for p in (ran.folder / "models").iterdir()} == {
        "README.md",
        "classifier.pt",
        "generator-acgan.pt",
        "generator-smote.pt",
    }
    assert {p.name for p in (ran.folder / "samples").iterdir()} == {
        "acgan.png",
        "acgan~nearest.png",
        "smote.png",
        "smote~nearest.png",
    }
    assert {p.name for p in ran.place.iterdir()} == {"home", "data", "out", "tiny.yaml"}
    assert not list((ran.place / "home").iterdir()), "something was left in the user's home"
    summary = json.loads((ran.folder / "summary.json").read_text())
    assert set(summary["arms"]) == set(ARMS)
    assert all(set(arm["by_seed"]) == {"0", "1"} for arm in summary["arms"].values())
    assert summary["verdict"] in ran.out.replace("\n", " ")


def test_its_largest_process_takes_one_and_a_half_gigabytes_at_most(ran: Ran) -> None:
    assert 0.1 < ran.peak <= 1.5


def test_scores_hold_every_arm_seed_split_and_metric(ran: Ran) -> None:
    scores = pd.read_csv(ran.folder / "scores.csv", keep_default_na=False)
    per = scores.groupby(["arm", "seed", "split"]).size()
    assert len(per) == 4 * 2 * 2 and set(per) == {7 + 20}
    assert scores.value.between(0, 1).all()


def test_the_tree_of_runs(runs: list[Run], client: MlflowClient) -> None:
    """Its charts are in sections, its models named, and it is tagged as machine learning."""
    assert len(runs) == 1 + 2 * 2 + 4 * 2
    assert {r.info.status for r in runs} == {"FINISHED"}
    arms = {(r.data.tags["augpipe.arm"], r.data.tags["augpipe.seed"]) for r in children(runs, "arm")}
    assert arms == {(a, str(s)) for a in ARMS for s in range(2)}
    made = {(r.data.tags["augpipe.generator"], r.data.tags["augpipe.seed"]) for r in children(runs, "generator")}
    assert made == {(g, str(s)) for g in ("smote", "acgan") for s in range(2)}
    for run in children(runs, "arm"):
        expected = {"smote": "smote", "acgan": "acgan"}.get(run.data.tags["augpipe.arm"], "none")
        assert run.data.tags["augpipe.generator"] == expected
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    models = client.search_logged_models([experiment.experiment_id], max_results=100)
    assert {model.name for model in models} <= {
        *(f"classifier-{arm}-seed{seed}" for arm, seed in arms),
        *(f"generator-{name}-seed{seed}" for name, seed in made),
    }
    sections = {key.partition("/")[0] for run in runs for key in run.data.metrics}
    assert sections - {"system"} == {"data", "train", "val", "test", "fidelity", "tracking_seconds"}


def test_what_an_arm_logs(ran: Ran, runs: list[Run], client: MlflowClient) -> None:
    scores = pd.read_csv(ran.folder / "scores.csv", keep_default_na=False)
    summary = json.loads((ran.folder / "summary.json").read_text())
    shares: dict[str, list[float]] = {}
    for run in children(runs, "arm"):
        arm, seed = run.data.tags["augpipe.arm"], int(run.data.tags["augpipe.seed"])
        found, own = run.data.metrics, scores[(scores.arm == arm) & (scores.seed == seed)]
        for row in own.itertuples():
            name = row._5  # the column called class
            key = f"{row.split}/{row.metric}" + (f"/{name}" if name else "")
            assert found[key] == pytest.approx(row.value, abs=1e-12), key
        told = summary["arms"][arm]
        for name, n in told["synthetic_counts"].items():
            assert found[f"data/synthetic_count/{name}"] == n
            assert found[f"data/real_count/{name}"] == told["real_counts"][name]
        shares.setdefault(arm, []).append(found["data/synthetic_share"])
        chosen = told["chosen"].get(str(seed), {})
        assert {k: v for k, v in found.items() if k.startswith("val/chosen_")} == {
            f"val/chosen_{k}": v for k, v in chosen.items()
        }
        assert bool(chosen) == (arm == "smote")
        assert found["data/synthetic_ratio"] == pytest.approx(told["ratio"])
        assert found["train/seconds"] > 0
        assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 3
    for arm, own in shares.items():
        assert np.mean(own) == pytest.approx(summary["arms"][arm]["share"])
    # By val and by seed: five shares for 3 of 12 steps, the better two for 6.
    assert all(
        one["share"] in SHARES and one["steps"] == 5 * 3 + 2 * 6 and one["part"] == 1
        for one in summary["arms"]["smote"]["chosen"].values()
    )
    acgan = summary["arms"]["acgan"]
    assert acgan["share"] == pytest.approx(0.3 * 3 / 10) and acgan["real_counts"]["9"] < 20


def test_what_checks_kept_is_logged_where_images_are_checked(ran: Ran, runs: list[Run]) -> None:
    summary = json.loads((ran.folder / "summary.json").read_text())
    assert {name: arm["curated"] for name, arm in summary["arms"].items()} == {
        "real": False,
        "classic": False,
        "smote": False,
        "acgan": True,
    }
    real = summary["arms"]["acgan"]["real_counts"]
    planned = sum(round(0.5 * max(real.values())) - real[name] for name in "789")
    for run in children(runs, "arm"):
        kept = {k: v for k, v in run.data.metrics.items() if k.startswith("data/kept/")}
        if run.data.tags["augpipe.arm"] != "acgan":
            assert not kept
            continue
        assert set(kept) == {f"data/kept/copies/{name}" for name in "789"}
        assert all(0 < share <= 1 for share in kept.values())
        # The plan is met or what is missing is said.
        missing = sum(v for k, v in run.data.metrics.items() if k.startswith("data/short/"))
        made = sum(v for k, v in run.data.metrics.items() if k.startswith("data/synthetic_count/"))
        assert made > 0 and made + missing == planned


def test_fidelity_is_told_in_a_table_and_on_the_parent(ran: Ran, runs: list[Run]) -> None:
    table = pd.read_csv(ran.folder / "fidelity.csv", keep_default_na=False, na_values={"value": [""]})
    assert list(table.columns) == ["generator", *fidelity.COLUMNS]
    figures = {*fidelity.names(), "gan_train"}
    for name, own in table[~table.metric.str.startswith("kept")].groupby("generator"):
        assert set(own.metric) == {*figures, "shortcut"} and len(own) == 11 * len(figures) + 1, name
        assert (own[own.value.isna()].note != "").all()
    parent = next(r for r in runs if r.data.tags["augpipe.kind"] == "comparison")
    given = table[table.value.notna()]
    assert len(given) > 450
    for row in given.to_dict("records"):
        key = f"fidelity/{row['generator']}/{row['metric']}" + (f"/{row['class']}" if row["class"] else "")
        assert parent.data.metrics[key] == pytest.approx(row["value"], abs=1e-12), key
    # Images between train images are as near to them as copies: the default gate says so.
    gates = json.loads((ran.folder / "summary.json").read_text())["generators"]["smote"]["gates"]
    assert list(gates) == ["memorisation.p > 0.01"] and not gates["memorisation.p > 0.01"]["holds"]


def test_what_a_generator_logs(runs: list[Run], client: MlflowClient) -> None:
    for run in children(runs, "generator"):
        assert run.data.params["kind"] == run.data.tags["augpipe.generator"]
        if run.data.params["kind"] != "acgan":
            continue
        assert [m.step for m in client.get_metric_history(run.info.run_id, "train/val_kid")] == [0, 1]
        names = {"train/loss_d", "train/loss_g", "train/best_kimg", "train/images_per_second", "val/kid"}
        assert names <= set(run.data.metrics)
        images = [a.path for a in client.list_artifacts(run.info.run_id, "images")]
        assert sum("preview" in p and p.endswith(".png") for p in images) == 2


def test_the_parent_holds_config_data_and_verdict(ran: Ran, runs: list[Run], client: MlflowClient) -> None:
    parent = next(r for r in runs if r.data.tags["augpipe.kind"] == "comparison")
    assert parent.data.params["generators.acgan.width"] == "0.06"
    assert parent.data.params["arms.3.mix.share"] == "0.3" and parent.data.params["baseline"] == "real"
    inputs = {i.dataset.name: i for i in parent.inputs.dataset_inputs}
    assert set(inputs) == {"tiny-source", "tiny-train", "tiny-val", "tiny-test"}
    digests = {i.dataset.digest for i in inputs.values()}
    assert len(digests) == 4
    stored = {p.name for p in (ran.home / "store" / "images").iterdir()}
    assert {d[:20] for d in digests} <= stored, "the digest is that of the stored set"
    summary = json.loads((ran.folder / "summary.json").read_text())
    assert parent.data.tags["augpipe.verdict"] == summary["verdict"]
    assert parent.data.tags["augpipe.source"] == summary["data"]["intake"]["fingerprint"]
    assert parent.data.metrics["tracking_seconds"] > 0
    told = {f"data/{k}": n for k, n in (("source_images", 1797), ("quarantined", 0), ("removed_duplicates", 0))}
    told |= {f"data/test/{name}": n for name, n in summary["data"]["counts"]["test"].items()}
    assert told.items() <= parent.data.metrics.items()
    gain = summary["arms"]["acgan"]["gain"]
    assert parent.data.metrics["test/gain/acgan"] == pytest.approx(gain["mean"], abs=1e-12)
    logged = {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "scores.csv", "summary.json"} <= logged


def test_synthetic_sets_are_inputs_of_the_arms_that_used_them(runs: list[Run]) -> None:
    for run in children(runs, "arm"):
        used = [i for i in run.inputs.dataset_inputs if i.tags[0].value == "synthetic"]
        assert len(used) == (run.data.tags["augpipe.arm"] in ("smote", "acgan"))


@pytest.mark.filterwarnings("ignore:.*Any type hint")  # of MLflow, about numpy's array types
def test_logged_models_load_and_agree(ran: Ran, runs: list[Run]) -> None:
    from augpipe.core.store import load_images

    sets = [load_images(p) for p in (ran.home / "store" / "images").iterdir()]
    # val or test: the smallest of the real sets.
    real = [s for s in sets if len(s) and (s.table["origin"] == "real").all()]
    images = min(real, key=len)
    run = next(r for r in children(runs, "arm") if r.data.tags["augpipe.arm"] == "classic")
    model = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    table = model.predict(np.array(images.images))
    assert list(table.columns) == ["label", *(f"probability_{c}" for c in images.classes)]
    found = table.drop(columns="label").to_numpy()
    assert found.shape == (179, 10) and found.sum(1) == pytest.approx(np.ones(179), abs=1e-4)
    assert table["label"].tolist() == [images.classes[at] for at in found.argmax(1)]
    recalls = [(found.argmax(1) == images.labels)[images.labels == c].mean() for c in range(10)]
    logged = {run.data.metrics["val/macro_recall"], run.data.metrics["test/macro_recall"]}
    assert any(np.mean(recalls) == pytest.approx(v, abs=0.02) for v in logged)
    assert model.metadata.signature.outputs.input_names() == list(table.columns)

    run = next(r for r in children(runs, "generator") if r.data.tags["augpipe.generator"] == "acgan")
    model = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    labels = np.array([0, 5, 9], dtype=np.int64)
    one, two, other = (model.predict(labels, params={"seed": s}) for s in (0, 0, 1))
    assert one.shape == (3, 1, 16, 16) and one.dtype == np.uint8
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_synthetic_images_carry_where_they_come_from(ran: Ran) -> None:
    from augpipe.core.store import load_images

    sets = [load_images(p) for p in (ran.home / "store" / "images").iterdir()]
    smote = [s for s in sets if len(s) and (s.table["source"] == "smote").all()]
    assert len(smote) == 2
    # The largest real set is the whole source, the next one train.
    train = sorted((s for s in sets if (s.table["origin"] == "real").all()), key=len)[-2]
    assert all(set(s.table["parent"]) <= set(train.table["id"]) for s in smote)


def post(url: str, body: dict) -> list[dict]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict] = json.load(answer)
    return found


def damage(store: Path) -> set[Path]:
    """Flip a bit, cut off the end, or delete,
    of every other file or folder with its digest in its name; their paths.
    """
    damaged = [p for p in sorted(store.glob("*/*")) if re.fullmatch(r"[0-9a-f]{20}", p.stem)][::2]
    for number, path in enumerate(damaged):
        file = max(path.rglob("*"), key=lambda p: p.stat().st_size) if path.is_dir() else path
        content = file.read_bytes()
        if number % 3 == 2:
            file.unlink()
        else:
            flipped = bytes([content[0] ^ 1]) + content[1:]
            file.write_bytes(content[:-1] if number % 3 else flipped)
    return set(damaged)


def refs_since(store: Path, begun: float) -> dict[Path, str]:
    """Path and digest of all that the records name which were written since."""
    texts = [p.read_text() for p in store.glob("records/*.json") if p.stat().st_mtime >= begun]
    pairs = [pair for text in texts for pair in re.findall(r'"path": "([^"]*)",\s*"sha256": "(\w+)"', text)]
    return {store / path: sha for path, sha in pairs}


def test_given_servers_are_used_and_fresh_makes_all_anew_to_the_byte(ran: Ran, single: Ran, tmp_path: Path) -> None:
    """Another Prefect server, another MLflow store, nothing reused: the same config, the same bytes.

    And over a store in which every other file is damaged: each is moved away and written again.
    """
    server, uri = warm.prefect(), tracking(tmp_path)
    shutil.copytree(single.home / "store", tmp_path / "copy" / "data" / "store")
    damaged, begun = damage(tmp_path / "copy" / "data" / "store"), time.time()
    copy = replace(single, place=tmp_path / "copy")
    again = beside(copy, tmp_path, "name=given", more=("--fresh",), PREFECT_API_URL=server, MLFLOW_TRACKING_URI=uri)
    assert again.status == 0 and "from cache" not in again.err, again.err[-3000:]
    assert "Traceback" not in again.err
    named = refs_since(copy.home / "store", begun)
    assert all(digest(path) == sha for path, sha in named.items())
    assert len(damaged & named.keys()) >= 5
    for name in ("scores.csv", "fidelity.csv"):
        assert (again.folder / name).read_bytes() == (single.folder / name).read_bytes(), name
    # And those of a fresh user's process with two seeds, in another place, as far as they are of the first.
    found = [rows_of_first_seed(one.folder / "scores.csv") for one in (again, ran)]
    assert found[0] == found[1] and len(found[0]) == 1 + 4 * 2 * (7 + 20)
    own = MlflowClient(f"sqlite:///{single.home / 'mlflow.db'}")
    assert own.get_experiment_by_name("given") is None
    assert MlflowClient(uri).get_experiment_by_name("given") is not None
    asked = {"flow_runs": {"name": {"like_": "given: "}}}
    flows = post(f"{server}/flow_runs/filter", asked)
    assert [f["state_type"] for f in flows] == ["COMPLETED"]
    assert flows[0]["name"] == "given: real, classic, smote, acgan; 1 seed"
    # Task runs reach the server as events, which it takes in shortly after.
    for _ in range(40):
        tasks = {t["name"] for t in post(f"{server}/task_runs/filter", {"limit": 200, **asked})}
        if len(tasks) >= 20:
            break
        time.sleep(0.5)
    assert {"acgan, seed 0", "classifier real, seed 0", "score smote, seed 0"} <= tasks


def test_an_arm_that_pools_two_generators(single: Ran, tmp_path: Path) -> None:
    done = beside(
        single,
        tmp_path,
        "arms.acgan.generator=[acgan, smote]",
        "arms.acgan.mix.share=per_class",
        "arms.acgan.mix.prefer={check: copies}",
        more=("--json",),
    )
    assert done.status == 0, done.err[-3000:]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert json.loads(done.out) == {**summary, "out": "out"}  # and nothing else
    told = summary["arms"]["acgan"]
    assert told["generator"] == "acgan + smote" and told["generative"]
    share = told["chosen"]["0"]["share"]
    assert set(share.values() if isinstance(share, dict) else [share]) <= set(SHARES)
    assert sum(told["synthetic_counts"].values()) > 100
    assert "acgan + smote" in (done.folder / "report.html").read_text()


def test_each_seed_has_a_split_of_its_own_where_asked(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    done = augpipe(
        tmp_path,
        "run",
        "tiny.yaml",
        "--out",
        "out",
        "--set",
        "resplit=true",
        "--set",
        "generators={}",
        "--set",
        "arms=[{name: real}, {name: classic, mix: {sampler: balanced}}]",
    )
    assert done.status == 0, done.err[-3000:]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["resplit"] is True
    # Against the equation, from the scores themselves.
    scores = pd.read_csv(done.folder / "scores.csv", keep_default_na=False)
    own = scores[(scores.split == "test") & (scores.metric == "macro_recall")]
    by_arm = {arm: part.sort_values("seed").value.to_numpy() for arm, part in own.groupby("arm")}
    apart = by_arm["classic"] - by_arm["real"]
    counts = {side: sum(n.values()) for side, n in summary["data"]["counts"].items()}
    error = np.sqrt((1 / 2 + counts["test"] / counts["train"]) * apart.var(ddof=1))
    gain = summary["arms"]["classic"]["gain"]
    assert gain["mean"] == pytest.approx(apart.mean())
    assert gain["high"] - gain["mean"] == pytest.approx(stats.t.ppf(0.975, 1) * error)
    assert "corrected resampled t-test" in (done.folder / "report.html").read_text()


def test_a_first_run_recalls_nothing_to_speak_of(ran: Ran, single: Ran) -> None:
    assert "from cache" not in ran.err and "from cache" not in single.err


def reused_of(said: str) -> tuple[int, int]:
    """How many results a run took from the cache, and of how many."""
    found = re.search(r"reused (\d+) of (\d+) results from cache", said)
    assert found is not None, said[-3000:]
    return int(found[1]), int(found[2])


def test_the_same_again_trains_nothing(single: Ran, tmp_path: Path) -> None:
    """The report is written anew, of the same bytes of scores; on a page of its own it says what took no time."""
    begun = time.monotonic()
    again = beside(single, tmp_path)
    assert again.status == 0, again.err[-3000:]
    reused, results = reused_of(again.err)
    assert reused == results > 10
    scores = [(one.folder / "scores.csv").read_bytes() for one in (single, again)]
    assert scores[0] == scores[1]
    assert time.monotonic() - begun < 120  # of a machine that does other work; the README has the figure
    assert (again.folder / "report.html").stat().st_size > 10_000


def test_another_share_runs_that_arm_alone(
    single: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """acgan's mix, classifier and score; seen by Prefect as what was not cached.
    compare-runs finds that setting and that arm.
    """
    other = beside(single, tmp_path, "arms.acgan.mix.share=0.6")
    assert other.status == 0, other.err[-3000:]
    reused, results = reused_of(other.err)
    assert results - reused == 3
    before, after = (pd.read_csv(one.folder / "scores.csv").query("arm != 'acgan'") for one in (single, other))
    assert before.equals(after)
    folders = (str(single.folder), str(other.folder))
    status, printed = call(
        monkeypatch, capsys, "compare-runs", *folders, "--out", str(tmp_path / "runs.html"), "--json"
    )
    compared = json.loads(printed)
    assert status == 0 and not compared["data"] and not compared["versions"]
    assert compared["settings"] == [{"name": "arms.acgan.mix.share", "first": "0.3", "second": "0.6"}]
    moved = {arm for arm, one in compared["arms"].items() if one["change"]}
    assert moved <= {"acgan"} and set(compared["arms"]) == set(ARMS)
