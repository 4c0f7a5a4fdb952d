"""The command: exit status, one line for a mistake, nothing half-written."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import call
from tiny import CONFIG, ROOT, augpipe, environment


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere.yaml"], "no config or folder 'nowhere.yaml'"),
        (["run", "tiny.yaml", "--set", "arms.acgan.mix.shear=1"], "unknown key 'shear'"),
        (["run", "tiny.yaml", "--out", "tiny.yaml"], "is a file"),
        (["run", "tiny.yaml", "--out", "data"], "holds AUGPIPE_HOME"),
        (
            ["run", "tiny.yaml", "--set", "runner.device=cuda"],
            "no device 'cuda' on this machine; choose from cpu",
        ),
        (
            ["run", "empty"],
            "needs a sub-folder of pictures for each of at least 2 classes; it has none",
        ),
        (["run", "tiny.yaml", "--oot", "x"], "--oot"),
        (["run"], "CONFIG"),
        (["rnu", "tiny.yaml"], "rnu"),
        (
            ["list", "familys"],
            "unknown list 'familys' (did you mean 'families'?); choose from families",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments, told, place, monkeypatch, capsys
) -> None:
    if "cuda" in told:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has the device")
    (place / "empty").mkdir()
    status, said = call(monkeypatch, capsys, *arguments)
    assert status == 2 and told in said
    assert said.startswith("augpipe: ") and "\n" not in said and "Traceback" not in said
    assert {p.name for p in place.iterdir()} <= {"empty", "tiny.yaml", "data"}
    assert not (place / "data" / "store").exists()


def test_list(place, monkeypatch, capsys) -> None:
    assert call(monkeypatch, capsys, "list", "families") == (
        0,
        "acgan\nbagan\ncgan\ndagan\ndcgan\ndeepsmote\nprogan\nsmote",
    )
    status, said = call(monkeypatch, capsys, "list", "metrics")
    assert status == 0 and "macro_recall" in said and "fidelity: kid" in said
    assert {"fidelity: gan_train", "fidelity: memorisation.p"} <= set(said.splitlines())
    told = "blank\nagreement\nrealism\ncopies\nduplicates"
    assert call(monkeypatch, capsys, "list", "checks") == (0, told)
    told = "cross_entropy\nfocal\nlogit_adjustment\nldam"
    assert call(monkeypatch, capsys, "list", "losses") == (0, told)
    told = "light\nelastic\nmedical\nfaces\nrandaugment\ntrivialaugment\naugmix"
    assert call(monkeypatch, capsys, "list", "transforms") == (0, told)


def test_a_mistake_that_only_the_data_show(tmp_path: Path) -> None:
    """Found when the run is under way: still one line, exit 2, and no out folder."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    override = "imbalance.classes=[7, eight]"
    done = augpipe(tmp_path, "run", "tiny.yaml", "--out", "out", "--set", override)
    assert done.status == 2, done.err
    assert "unknown class 'eight'; choose from 0, 1, 2" in done.err and "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert not (tmp_path / "out").exists() and done.out == ""


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """Files may grow to 64 kB only: told as the user's to mend."""
    script = (
        "import numpy as np, sys; sys.path.insert(0, 'tests');"
        "from shapes import shapes; from augpipe.core.store import Store; from pathlib import Path;"
        f"Store(Path({str(tmp_path)!r})).put_images(shapes((400, 400)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(tmp_path), text=True, capture_output=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )  # fmt: skip
    assert "UserError: cannot write to" in done.stderr and "File too large" in done.stderr
    assert not list((tmp_path / "images").iterdir())


LONG = "trouser" * 34  # a folder's name may have 255 bytes


def test_a_folder_of_pictures_goes_through(tmp_path: Path, shared: Path, make_folder) -> None:
    """Real pictures of another data set: 60 each of three kinds of clothing, one with a very long name; behind a proxy."""
    import gzip

    import numpy as np

    from augpipe.core.images import ImageSet, provenance

    raw = shared / "FashionMNIST" / "raw"

    def idx(name: str, offset: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((raw / name).read_bytes()), np.uint8, offset=offset)

    images, labels = idx("t10k-images-idx3-ubyte.gz", 16), idx("t10k-labels-idx1-ubyte.gz", 8)
    rows = np.concatenate([np.flatnonzero(labels == c)[:n] for c, n in ((0, 60), (1, 60), (8, 14))])
    names = np.searchsorted([0, 1, 8], labels[rows]).astype(np.int64)
    some = ImageSet(
        images.reshape(-1, 1, 28, 28)[rows], names, ("t-shirt", LONG, "bag"),
        provenance([str(r) for r in rows]),
    )  # fmt: skip
    folder = make_folder(tmp_path / "clothes", some)
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    done = augpipe(
        tmp_path, "run", "clothes", "--out", "out", "--set", "classifier.steps=30",
        "--set", "generators.acgan.kimg=0.5", "--set", "generators.acgan.ticks=1",
        "--set", "generators.acgan.width=0.1", "--set", "seeds=1",
        # Nobody answers there: servers on this machine are not asked through it.
        HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert done.status == 0, done.err[-3000:]
    assert re.search(r"chose image.size 28 \(median short side 28 px, grey\)", done.err)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["arms"]) == 7 and summary["data"]["classes"] == ["bag", "t-shirt", LONG]
    assert summary["verdict"].startswith("Too few")
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            "http://me:secret@127.0.0.1:9",
            "no MLflow server answers at MLFLOW_TRACKING_URI http://127.0.0.1:9",
        ),
        ("foo://x", "MLFLOW_TRACKING_URI foo://x"),
    ],
)
def test_a_tracking_store_that_does_not_answer(value, told, place, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    monkeypatch.setenv("PREFECT_HOME", str(place / "prefect"))
    status, said = call(monkeypatch, capsys, "run", "tiny.yaml", "--out", "out")
    assert status == 2 and told in said and "secret" not in said and "\n" not in said
    assert not (place / "out").exists()


def test_a_prefect_server_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    url = "http://127.0.0.1:9/api"
    done = augpipe(tmp_path, "run", "tiny.yaml", "--out", "out", PREFECT_API_URL=url)
    assert done.status == 2, done.err[-2000:]
    assert f"no Prefect server answers at PREFECT_API_URL {url}" in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
