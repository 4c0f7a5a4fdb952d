"""A look at a source: its figures, its files, its command, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from html_tags import Tags
from labelled_tables import experiment_of
from pictures import folders, noise, save, source
from PIL import Image
from sklearn.datasets import load_sample_images
from tiny import augpipe

from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.inspect import Inspection, inspect
from augpipe.data.options import SplitOptions
from augpipe.report.inspection import write_inspection
from augpipe.report.out import INSPECTION_FILES

EVIL = '<script>alert("x")<b>'


def look(root: Path, **values: object) -> Inspection:
    return inspect(sources.listing(source("folder", path=root, **values)), ImageOptions())


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Official split; equal and near copies within and across sides and classes; bad files; a tiny class."""
    root = tmp_path / "pics"
    for s, (side, n) in enumerate((("train", 40), ("val", 12), ("test", 12))):
        for k, c in enumerate(("a", EVIL)):
            for i in range(n):
                save(root / side / c / f"{i}.png", noise(1000 * s + 100 * k + i + 10, 20, 20))
    for path in ("train/a/x1.png", "train/a/x2.png", "val/a/x3.png", f"test/{EVIL}/x4.png"):
        save(root / path, noise(1, 20, 20))
    piece = load_sample_images().images[1][100:140, 200:240, 0]
    save(root / "train" / "a" / "near.png", piece)
    save(root / "test" / "a" / "near.jpg", piece, quality=90)
    (root / "train" / "a" / "bad.png").write_text("x")
    (root / "train" / "a" / "notes.txt").write_text("x")
    return root


def test_figures_of_a_messy_folder(messy: Path) -> None:
    found = look(messy)
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    assert facts["images"] == 134 and facts["split"] == "official"
    rows = {row["name"]: row for row in facts["classes"]}
    assert rows["a"] == {"name": "a", "images": 69, "train": 43, "val": 13, "test": 13, "unusable": 1}
    assert facts["imbalance_ratio"]["all"] == pytest.approx(69 / 65)
    equal, near = facts["duplicates"]["equal"], facts["duplicates"]["near"]
    assert (equal["groups"], equal["extra_images"], equal["groups_of_several_classes"]) == (1, 3, 1)
    assert equal["across_splits"] == {"val in train": 1, "test in train": 1, "test in val": 1}
    assert {one["id"] for one in equal["examples"][0]} == {
        "train/a/x1.png",
        "train/a/x2.png",
        "val/a/x3.png",
        f"test/{EVIL}/x4.png",
    }
    assert (near["groups"], near["extra_images"]) == (1, 1)
    assert near["across_splits"] == {"val in train": 0, "test in train": 1, "test in val": 0}
    assert facts["sizes"]["most_common"][0] == [20, 20, 132] and facts["sizes"]["width"]["max"] == 40
    assert facts["modes"] == {"L": 134} and facts["formats"] == {"PNG": 133, "JPEG": 1}
    assert facts["unusable"] == {"files": 1, "reasons": "not a picture of a supported format (1)"}
    assert facts["ignored"] == {".txt": 1}
    kinds = [problem["severity"] for problem in facts["problems"]]
    assert kinds == ["leak"] * 4 + ["warning"] * 2


def test_what_would_stop_a_run(tmp_path: Path) -> None:
    root = folders(tmp_path, 5, ("Cat", "cat"))
    (root / "empty").mkdir()
    for i in range(3):
        (root / "cat" / f"bad{i}.png").write_text("x")
    texts = [p.text for p in look(root).problems if p.severity == "stop"]
    assert any("more than 5%" in text for text in texts)
    assert any("differ only in case" in text for text in texts)
    assert any("class 'empty' has no usable picture" in text for text in texts)
    alone = look(folders(tmp_path / "one", 3, ("a",)))
    assert [p.text for p in alone.problems if p.severity == "stop"] == ["at least 2 classes are needed; got a"]


def test_a_split_that_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    root = folders(tmp_path / "x", 10)
    listed = sources.listing(source("folder", path=root))
    assert inspect(listed, ImageOptions()).sides is None
    found = inspect(listed, ImageOptions(), SplitOptions())
    assert found.split == "stratified" and found.counts("test") == {"a": 2, "b": 2}
    save(root / "c" / "x.png", noise(5))
    few = inspect(sources.listing(source("folder", path=root)), ImageOptions(), SplitOptions())
    assert any("class 'c' has 1 image" in p.text for p in few.problems if p.severity == "stop")


def test_copies_are_counted_where_no_split_is_asked_for(tmp_path: Path) -> None:
    root = folders(tmp_path, 10)
    for path in (root / "a").iterdir():
        save(path.with_name(f"copy-{path.name}"), np.asarray(Image.open(path)))
    bright = np.asarray(Image.open(root / "b" / "000.png")) // 2 + 40
    save(root / "b" / "near.png", bright)
    equal, near = (text for severity, text in looked(root) if "to another" in text)
    assert equal.startswith("10 images of 31 equal to another, pixel by pixel")
    assert near.startswith("1 image of 31 nearly equal to another")
    assert not any("to another" in text for _, text in looked(root, kind="stratified"))


def test_a_split_of_the_sources_own_that_a_run_refuses(tmp_path: Path) -> None:
    for side, c in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b"), ("test", "c")):
        for i in range(5):
            save(tmp_path / side / c / f"{i}.png", noise(len(side) * 100 + ord(c) * 7 + i))
    stops = [p.text for p in look(tmp_path).problems if p.severity == "stop"]
    assert stops == [
        "the official train of the source has no image of class 'c'; set split.kind: stratified or grouped, or exclude "
        "the class"
    ]


def test_a_config_that_is_no_more_than_a_source(tmp_path: Path) -> None:
    folders(tmp_path / "pics", 12, ("a", "b\x1b[31m"))
    (tmp_path / "x.yaml").write_text("source: {kind: folder, path: pics}\non_bad: fail\n")
    done = augpipe(tmp_path, "inspect", "x.yaml", "--set", "min_images=2")
    assert done.status == 0 and "24 images of 2 classes" in done.out, done.err
    assert "\x1b[31m" not in done.out and "b\\x1b[31m" in done.out


def test_groups_are_counted(tmp_path: Path) -> None:
    for i in range(30):
        save(tmp_path / "img" / f"{i}.png", noise(i))
    table = pd.DataFrame(
        {
            "path": [f"img/{i}.png" for i in range(30)],
            "label": ["a", "b"] * 15,
            "group": [f"p{min(i // 6, 3)}" for i in range(30)],
            "split": ["train"] * 16 + ["test"] * 14,
        }
    )
    table.to_csv(tmp_path / "m.csv", index=False)
    listed = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    facts = inspect(listed, ImageOptions()).facts()
    assert facts["groups"] == {"groups": 4, "largest": 12, "on_several_sides": 1}


def test_the_page_is_self_contained_and_escaped(messy: Path, tmp_path: Path) -> None:
    write_inspection(look(messy), ImageOptions(), EVIL, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == set(INSPECTION_FILES)
    text = (tmp_path / "out" / "inspect.html").read_text()
    tags = Tags()
    tags.feed(text)
    names = [name for name, _ in tags.tags]
    assert "script" not in names and names.count("h2") == 6
    images = [attributes for name, attributes in tags.tags if name == "img"]
    assert len(images) > 4 and all(i["alt"] and i["src"].startswith("data:image/") for i in images)
    assert not re.search(r"https?://", re.sub(r"data:[^\"]*", "", text)) and len(text) < 8e6
    left_out = pd.read_csv(tmp_path / "out" / "quarantine.csv")
    assert left_out["id"].tolist() == ["train/a/bad.png"]


def test_the_command(messy: Path, tmp_path: Path) -> None:
    before = sorted((str(p), p.stat().st_mtime_ns) for p in messy.rglob("*"))
    done = augpipe(tmp_path, "inspect", "pics", "--out", "found")
    assert done.status == 0, done.err[-2000:]
    assert "134 images of 2 classes" in done.out and "leak: 1 image of val also in train" in done.out
    assert {p.name for p in (tmp_path / "found").iterdir()} == set(INSPECTION_FILES)
    again = augpipe(tmp_path, "inspect", "pics", "--json", "--out", "found")
    assert json.loads(again.out) == json.loads((tmp_path / "found" / "inspect.json").read_text())
    assert sorted((str(p), p.stat().st_mtime_ns) for p in messy.rglob("*")) == before
    inside = augpipe(tmp_path, "inspect", "pics", "--out", "pics/found")
    assert inside.status == 2 and "lies in the image folder" in inside.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dear.txt").write_text("")
    foreign = augpipe(tmp_path, "inspect", "pics", "--out", "mine")
    assert foreign.status == 2 and "holds 'dear.txt'" in foreign.err
    for wrong, told in (("nowhere", "no config, folder or file"), ("mine/dear.txt", "unknown kind of source")):
        refused = augpipe(tmp_path, "inspect", wrong)
        assert refused.status == 2 and told in refused.err and len(refused.err.splitlines()) == 1


def test_a_run_on_a_messy_folder(messy: Path, tmp_path: Path) -> None:
    """Evil names, bad files and leaks go through to the report; nothing is silently dropped."""
    (messy / "train" / "a" / "wide.bmp").write_bytes(b"BM")
    done = augpipe(
        tmp_path,
        "run",
        "pics",
        "--out",
        "out",
        "--set",
        "classifier.steps=20",
        "--set",
        "seeds=1",
        "--set",
        "arms=[{name: real}, {name: oversample, mix: {sampler: balanced}}]",
        "--set",
        "generators={}",
    )
    assert done.status == 0, done.err[-3000:]
    assert "2 files that cannot be used; quarantine.csv says why" in done.err
    left_out = pd.read_csv(tmp_path / "out" / "quarantine.csv").set_index("id")
    assert left_out["what"].to_dict() == {
        "train/a/bad.png": "quarantined",
        "train/a/wide.bmp": "quarantined",
        "train/a/x1.png": "removed",
        "train/a/x2.png": "removed",
        "val/a/x3.png": "removed",
    }
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["data"]["counts"]["train"] == {"a": 41, EVIL: 40}
    assert summary["data"]["intake"]["quarantined"] == 2 and summary["data"]["intake"]["removed"] == 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "train/a/bad.png" in page and "also in val or test" in page and EVIL not in page


def test_the_page_in_a_browser(messy: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine")
    write_inspection(look(messy), ImageOptions(), "messy", tmp_path / "out")
    shot = tmp_path / "shot.png"
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            f"--user-data-dir={tmp_path / 'chr'}",
            "--enable-logging=stderr",
            "--window-size=400,1600",
            f"--screenshot={shot}",
            (tmp_path / "out" / "inspect.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0 and "CONSOLE" not in done.stderr, done.stderr[-2000:]
    with Image.open(shot) as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def looked(root: Path, **split: object) -> list[tuple[str, str]]:
    options = SplitOptions(**split) if split else None
    found = inspect(sources.listing(source("folder", path=root)), ImageOptions(), options)
    return [(problem.severity, problem.text) for problem in found.problems]


def test_what_stops_a_run_is_said_of_a_folder_too(tmp_path: Path) -> None:
    """By the function that the run calls, whether or not the folder has a split of its own."""
    folders(tmp_path / "pics", 20, ("a",))
    folders(tmp_path / "pics", 2, ("b",))
    (stop,) = [text for severity, text in looked(tmp_path / "pics") if severity == "stop"]
    assert stop.startswith("class 'b' has 2 images; train, val and test need at least 3")


def test_advice_leaves_out_what_is_too_small_when_it_is_typed(tmp_path: Path) -> None:
    """Classes of few groups, which min_images does not count, and an empty one."""
    for c, (name, n) in enumerate((("0", 12), ("2 a", 12), ("yes", 4))):
        for patient in range(n):
            save(tmp_path / "pics" / name / f"p{patient}" / "0.png", noise(100 * c + patient))
    where = {"kind": "folder", "path": str(tmp_path / "pics"), "layout": "{label}/{group}/*"}

    def warnings(sets: list[str]) -> list[str]:
        experiment = experiment_of(dict(where), sets)
        found = inspect(sources.listing(experiment.source), experiment.image, experiment.split)
        return [one.text for one in found.problems if one.text.startswith(("no verdict", "class"))]

    (text,) = warnings(["split.test=0.5"])
    option = shlex.split(text[text.index("--set") :].rstrip(")"))[1]
    assert option == 'source.classes=[0, "2 a"]'
    assert warnings(["split.test=0.5", option]) == []


@pytest.mark.parametrize(("n", "advice"), [(21, "set split.test=0.25"), (11, "set split.test=0.5"), (8, "add images")])
def test_too_few_test_images_for_a_verdict_are_said_at_once(tmp_path: Path, n: int, advice: str) -> None:
    folders(tmp_path / "pics", 40)
    for extra in sorted((tmp_path / "pics" / "b").iterdir())[n:]:
        extra.unlink()
    (text,) = [t for _, t in looked(tmp_path / "pics") if t.startswith("no verdict is possible")]
    assert "1 class of 2 have fewer ('b'" in text and advice in text
    if "=" in advice:
        (folds,) = [t for _, t in looked(tmp_path / "pics", kind="k_fold", folds=7) if t.startswith("no verdict")]
        assert "set fewer split.folds" in folds and "split.test" not in folds
        after = looked(tmp_path / "pics", test=float(advice.split("=")[1]))
        assert not [t for _, t in after if t.startswith("no verdict")]
