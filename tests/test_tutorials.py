"""Tutorials as written: their code, their configs and their commands, with settings that make them small."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import call
from tiny import ROOT, Ran, augpipe

from augpipe.pipeline.experiment import load

SMALL = ("seeds=1", "classifier.steps=12", "classifier.evaluations=1", "generators.cgan.kimg=0.4", "runner.workers=1")
SMALL = (*SMALL, "generators.cgan.ticks=1", "generators.cgan.width=4", "runner.threads=1", "fidelity.images=20")


class Tutorial:
    """A page, followed in a folder of its own."""

    def __init__(self, name: str, place: Path) -> None:
        self.text, self.place = (ROOT / "docs" / "tutorial" / f"{name}.md").read_text("utf-8"), place

    def blocks(self, kind: str) -> list[str]:
        """The code blocks of a kind; "" for commands."""
        every = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        return [block for language, block in every if language == kind]

    def commands(self, word: str) -> list[list[str]]:
        """The arguments of the page's commands that begin with a word."""
        lines = [shlex.split(line) for block in self.blocks("") for line in block.splitlines()]
        return [line[1:] for line in lines if line[:2] == ["augpipe", word]]

    def config(self) -> Path:
        """Write the page's config."""
        (yaml,) = self.blocks("yaml")
        (name,) = set(re.findall(r"Save this as `(\w+\.yaml)`", self.text))
        (self.place / name).write_text(yaml)
        return self.place / name

    def code(self, monkeypatch: pytest.MonkeyPatch, number: int = 0) -> None:
        """Run a block of Python."""
        monkeypatch.chdir(self.place)
        exec(compile(self.blocks("python")[number], "tutorial", "exec"), {})

    def run(self, arguments: list[str], *more: str) -> Ran:
        """Run a command with the settings `more`."""
        return augpipe(self.place, *arguments, *(["--set", *more] if more else []))


def test_your_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The run that follows: that of the tutorial in ten minutes (flows/test_cli.py), with the same arms."""
    page = Tutorial("your-own-folder", tmp_path)
    page.code(monkeypatch)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    (inspection,) = page.commands("inspect")
    assert call(monkeypatch, capsys, *inspection) == (0, page.blocks("text")[0].strip())
    (balance,) = page.commands("balance")
    assert balance[3] in page.blocks("text")[1] and f"arms.{balance[3]}.mix.share" in page.commands("run")[-1][-1]


def test_x_rays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    page = Tutorial("x-rays", tmp_path)
    shutil.copy(shared / "medmnist" / "pneumoniamnist.npz", tmp_path)
    page.code(monkeypatch)
    experiment = load(page.config())
    assert experiment.split.kind == "grouped" and experiment.gate
    few = (*SMALL, "curation.checks=[copies]", "arms.cgan+classic.mix.fill=12")
    (run,), (published, refused) = page.commands("run"), page.commands("balance")
    ran = page.run(run, *few)
    assert ran.status == 0, ran.err[-2000:]
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert summary["metric"] == "minority_recall" and summary["data"]["intake"]["split"] == "grouped"
    assert summary["data"]["intake"]["groups"] == 360
    held = page.run(published, *few)
    assert held.status == 0, held.err[-2000:]
    assert (tmp_path / "balanced" / "manifest.csv").is_file()
    broken = page.run(refused, *few)
    assert broken.status == 3 and "memorisation.p > 0.01" in broken.err + broken.out, broken.err[-2000:]
    assert not (tmp_path / "balanced-smote").exists()


def test_faces(tmp_path: Path, shared: Path) -> None:
    page = Tutorial("faces", tmp_path)
    shutil.copy(shared / "orl_faces" / "orl_faces.zip", tmp_path)
    page.config()
    (run,), (balance,) = page.commands("run"), page.commands("balance")
    ran = page.run(run, *SMALL, "fidelity.images=4")
    assert ran.status == 0, ran.err[-2000:]
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert set(summary["arms"]) == {"real", "balanced", "classic", "cgan+classic"}
    assert (tmp_path / "results" / "samples" / "cgan~nearest.png").is_file()
    assert balance == [
        "balance",
        "faces.yaml",
        "--arm",
        "cgan+classic",
        "--out",
        "balanced",
    ]  # run by the tutorial above


def test_images_made_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Tutorial("images-made-elsewhere", tmp_path)
    page.code(monkeypatch)
    page.config()
    few = (
        "seeds=1",
        "classifier.steps=12",
        "classifier.evaluations=1",
        "fidelity.images=20",
        "curation.checks=[copies]",
    )
    few = (*few, "arms.sd+classic.mix.fill={eight: 12, nine: 12}", "runner.workers=1", "runner.threads=1")
    (refused, run), (balance,) = page.commands("run"), page.commands("balance")
    first = page.run(refused, *few)
    assert first.status == 2 and "augpipe: 4 images of generators.sd.source equal to one of val or test" in first.err
    assert not (tmp_path / "results").exists()
    page.code(monkeypatch, 1)
    ran = page.run(run, *few)
    assert ran.status == 0, ran.err[-2000:]
    assert "sd: its images lie no nearer to val and test than to train" in ran.err + ran.out
    arms = json.loads((tmp_path / "results" / "summary.json").read_text())["arms"]
    assert {name: arm["knowledge"] for name, arm in arms.items()} == {
        "real": "closed set",
        "classic": "closed set",
        "sd+classic": "own images",
    }
    assert "The two do not know the same: 'sd+classic' learns from own images" in ran.out + ran.err
    html = (tmp_path / "results" / "report.html").read_text()
    assert "sd+classic learns from own images as well as from train." in html
    published = page.run(balance, *few)
    assert published.status == 0, published.err[-2000:]
    assert "sd/0/" in (tmp_path / "balanced" / "manifest.csv").read_text()
    few_more, too_many = (page.run(command) for command in page.commands("generate"))
    assert few_more.status == 0 and len(list((tmp_path / "twenty" / "nine").iterdir())) == 20
    assert too_many.status == 2 and "the model has 100 images of class 'nine', made elsewhere" in too_many.err


def test_nightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refreshes of a config like this one: flows/test_refresh.py."""
    ten, page = Tutorial("ten-minutes", tmp_path), Tutorial("nightly", tmp_path)
    ten.code(monkeypatch)
    before = len(list((tmp_path / "pictures" / "nine").iterdir()))
    page.code(monkeypatch)
    assert len(list((tmp_path / "pictures" / "nine").iterdir())) == before + 20
    experiment = load(page.config())
    assert experiment.source.kind == "folder" and experiment.promotion.rule == "better"
    assert page.commands("refresh") == [["refresh", "nightly.yaml"]]
    assert [command[:3] for command in page.commands("serve")] == [["serve", "nightly.yaml", "--cron"]]
    assert np.array([f"{experiment.name}-classifier@champion" in block for block in page.blocks("python")]).any()
