"""`augpipe generate` and `augpipe predict` on what a finished run left, and on MLflow's models."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import warm
from mlflow import MlflowClient
from PIL import Image
from tiny import Ran, augpipe, environment


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_from_a_run_to_images_and_predictions(single: Ran, tmp_path: Path) -> None:
    """Drawn from the run's folder and from MLflow's model of the same checkpoint the images are the same."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(single.home / "mlflow.db", data / "mlflow.db")  # its artifacts stay where they are
    client = MlflowClient(f"sqlite:///{data / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    logged = {model.name: model for model in client.search_logged_models(experiments)}

    def run(*arguments: str, home: Path = data) -> Ran:
        return augpipe(tmp_path, *arguments, AUGPIPE_HOME=str(home))

    counts = ("--counts", "7=5,8=3")
    made = run("generate", str(single.folder), "--generator", "acgan", *counts, "--out", "one")
    assert made.status == 0 and made.out.strip() == "8 synthetic images, not checked: one"
    manifest = pd.read_csv(tmp_path / "one" / "manifest.csv", dtype=str, keep_default_na=False)
    assert manifest["class"].tolist() == ["7"] * 5 + ["8"] * 3
    assert set(manifest.origin) == {"synthetic"} and set(manifest.parent) == {""}
    with Image.open(tmp_path / "one" / manifest.file[0]) as picture:
        assert picture.size == (16, 16) and picture.mode == "L"

    again = run(
        "generate", str(single.folder), "--generator", "acgan", *counts, "--seed", "1", "--out", "two", "--json"
    )
    assert again.status == 0 and json.loads(again.out) == {
        "generator": "acgan",
        "seed": 1,
        "counts": {"7": 5, "8": 3},
        "format": "folder",
        "checked": False,
        "short": {},
        "out": "two",
    }
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one.keys() == two.keys() and not set(one.values()) & set(two.values())
    address = f"runs:/{logged['generator-acgan-seed0'].source_run_id}/generator"
    tracked = run("generate", address, *counts, "--out", "three")
    assert tracked.status == 0, tracked.err
    pixels = [
        [Image.open(path).tobytes() for path in sorted((tmp_path / name).rglob("*.png"))] for name in ("one", "three")
    ]
    assert pixels[0] == pixels[1] and len(pixels[0]) == 8

    # By the run's checks, from what its store holds; and by one that nothing passes, of so short a training.
    checked = ("generate", "run", "--generator", "acgan", *counts, "--checked", "--out")
    shutil.copytree(single.folder, tmp_path / "run")
    four = run(*checked, "four", home=single.home)
    assert four.status == 0 and four.out.strip() == "8 synthetic images, checked: four", four.err
    config = (tmp_path / "run" / "experiment.yaml").read_text()
    changed = config.replace("  - copies", "  - agreement").replace("purity: null", "purity: 0.999")
    (tmp_path / "run" / "experiment.yaml").write_text(changed)
    none = run(*checked, "five", home=single.home)
    assert none.status == 2 and "no image passed the run's checks" in none.err
    assert not (tmp_path / "five").exists()

    script = run("export", "run", "--format", "torchscript")
    assert script.status == 0 and script.out.strip() == "classifier: classifier-torchscript.pt"
    assert zipfile.is_zipfile(tmp_path / "classifier-torchscript.pt")

    (tmp_path / "one" / "7" / "broken.png").write_bytes(b"no picture")
    predicted = run("predict", str(single.folder), "one", "--out", "new/predictions.csv")
    assert predicted.status == 0 and predicted.out.strip() == "9 pictures: new/predictions.csv"
    assert "1 picture could not be read; the column `problem` says why" in predicted.err
    assert run("predict", str(single.folder), "one/7/broken.png").status == 1  # not one prediction
    rows = pd.read_csv(tmp_path / "new" / "predictions.csv", dtype={"predicted": str})
    assert len(rows) == 9 and rows.predicted.isna().sum() == 1
    probabilities = rows[rows.predicted.notna()].filter(like="probability_")
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1] * 8, abs=1e-4)
    printed = run("predict", str(single.folder), "one", "--json")
    values = json.loads(printed.out)
    assert (values["pictures"], values["unreadable"], values["out"]) == (9, 1, None)
    listed = pd.DataFrame(values["predictions"])[rows.columns]
    pd.testing.assert_frame_equal(
        listed.drop(columns="problem"), rows.drop(columns="problem"), check_dtype=False, rtol=1e-4
    )
    printed = run("predict", f"models:/{logged['classifier-real-seed0'].model_id}", "one/7/synthetic-000000.png")
    assert printed.status == 0 and printed.out.count("\n") == 2

    with (
        Path("/dev/full").open("wb") as full,
        Path(os.devnull).open("rb") as nothing,
        (tmp_path / "err").open("wb") as err,
    ):
        command = ("predict", str(single.folder), "one")
        given = environment(tmp_path, AUGPIPE_HOME=str(data))
        assert warm.Running(tmp_path, command, given, (nothing, full, err)).wait(60) == 2
    assert "standard output cannot be written: No space left" in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "{out}", "--counts", "1"), "several generators; choose one with --generator: acgan, smote"),
        (("generate", "{out}", "--counts", "x=1", "--generator", "smote"), "unknown class 'x'"),
        (("generate", "{out}", "--counts", "1", "--generator", "smote", "--seed", "-1"), "--seed must be 0 or more"),
        (("generate", "{out}", "--counts", "1", "--generator", "smote", "--out", "."), "holds"),
        (("generate", "{out}", "--generator", "smote"), "needs --counts"),
        (
            ("generate", "{out}/models/generator-smote.pt", "--counts", "1", "--checked"),
            "--checked needs the out folder of a run",
        ),
        (("export", "{out}", "--format", "onnx", "--out", "x.pt"), "--out must be a .onnx file for onnx; got 'x.pt'"),
        (
            ("export", "{out}", "--format", "torchscript", "--out", "x.onnx"),
            "--out must be a .pt file for torchscript; got 'x.onnx'",
        ),
        (
            ("export", "{out}", "--format", "torchscript", "--generator", "smote"),
            "of kind smote cannot be exported: its images are not those of one network",
        ),
        (("generate", "models:/none/1", "--counts", "1"), "unknown registered model in MLflow: 'none'; there is none"),
        (("generate", "{out}/models/classifier.pt", "--counts", "1"), "is a classifier"),
        (("predict", "{out}"), "needs pictures"),
        (("predict", "{out}", "nowhere"), "no picture or folder 'nowhere'"),
        (("predict", "{out}", "{out}", "--out", "x"), "--out must be a .csv file"),
        (("predict", "{out}", "{out}", "--out", "mine.csv"), "exists and holds no predictions of augpipe"),
        (("predict", "{out}/models", "{out}/models"), "no picture below"),
    ],
)
def test_mistakes(single: Ran, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine.csv").write_text("id,label\n1,cat\n")
    (tmp_path / "data").mkdir()
    shutil.copy(warm.database(), tmp_path / "data" / "mlflow.db")  # making one takes seconds
    place = [text.replace("{out}", str(single.folder)) for text in arguments]
    done = augpipe(tmp_path, *place, AUGPIPE_HOME=str(tmp_path / "data"))
    assert done.status == 2 and message in done.err and done.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", "mine.csv", "home", "data"}
    assert (tmp_path / "mine.csv").read_text() == "id,label\n1,cat\n"
