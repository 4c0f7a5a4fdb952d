"""What runs again after an edit, and what does not; what is kept, and what is not trusted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from recalling import job, lines, made
from tiny import ROOT

from augpipe.core import fingerprints as code
from augpipe.core.store import Ref
from augpipe.pipeline import cache as caching
from augpipe.pipeline import stages
from augpipe.pipeline.records import Job

OF_AN_ARM = ("mix", "classifier", "score")
ARMS = ("real", "classic", "smote", "acgan")


def every(*whats: str, of: tuple[str, ...] = ARMS, seed: int = 0) -> set[str]:
    return {f"{what} {name}/{seed}" for what in whats for name in of}


DOMAIN = {"domain/0"}
GENERATORS = every("generator", "measure", of=("smote", "acgan"))
FILLED = every("synthesise", of=("smote", "acgan")) | every("choose", of=("smote",))
MIXED_OF_REAL = every("mix", of=("real", "classic"))  # the same for every seed and classifier
ALL = DOMAIN | GENERATORS | FILLED | every(*OF_AN_ARM)

# What follows from each setting, and nothing else. A stage that gives the same bytes as before ends the chain: what is
# made of them is recalled.
SETTINGS = {
    "name=other": set(),
    "arms.acgan.mix.share=0.2": every(*OF_AN_ARM, of=("acgan",)),
    "arms.acgan.mix.fill=0.4": every("synthesise", *OF_AN_ARM, of=("acgan",)),
    "arms.classic.mix.transform=faces": every(*OF_AN_ARM, of=("classic",)),
    "generators.acgan.width=0.12": every(
        "generator", "measure", "synthesise", *OF_AN_ARM, of=("acgan",)
    ),
    "curation.reject=0.1": every("synthesise", of=("smote", "acgan")),
    "fidelity.gan_train=false": every("measure", "synthesise", of=("smote", "acgan")),
    "gate=[]": set(),
    "imbalance.keep=0.2": ALL,
    "classifier.steps=20": ALL - MIXED_OF_REAL,
    "seeds=[1]": {line.replace("/0", "/1") for line in ALL - MIXED_OF_REAL},
}
# In a copy of the package: a function more in a module, as a helper's change.
CODE = {
    "generators/models/acgan.py": every("generator", "measure", "synthesise", of=("acgan",)),
    "generators/models/bagan.py": set(),
    "synthetic/curation.py": every("synthesise", of=("smote", "acgan")),
    "classifiers/scores.py": every("score") | every("measure", of=("smote", "acgan")),
    "classifiers/search.py": every("mix") | every("choose", of=("smote",)),
    "data/sources/folder.py": set(),
    "report/figures.py": set(),
    "core/seeds.py": ALL,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store in which everything was made once; each edit's results come to it under keys of their own."""
    place = tmp_path_factory.mktemp("before") / "store"
    assert made(lines(job(place))) == ALL
    return place


def test_nothing_is_made_twice(store: Path) -> None:
    told = lines(job(store))
    assert not made(told) and len(told) == len(ALL)


@pytest.mark.parametrize("edit", SETTINGS)
def test_a_setting_runs_what_follows_from_it(store: Path, edit: str) -> None:
    assert made(lines(job(store, edit))) == SETTINGS[edit]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The package elsewhere."""
    place = tmp_path_factory.mktemp("code")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "augpipe", place / "augpipe", ignore=ignore)
    return place


def elsewhere(code: Path, store: Path) -> list[str]:
    """The stages by the package in `code`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "recalling.py"), str(store)],
        env={**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class Edited(NamedTuple):
    path: Path
    text: str


@pytest.fixture
def edited(copied: Path, request: pytest.FixtureRequest) -> Iterator[Edited]:
    path = copied / "augpipe" / request.param
    text = path.read_text()
    yield Edited(path, text)
    path.write_text(text)


@pytest.mark.parametrize("edited", CODE, indirect=True, ids=str)
def test_a_helpers_code_runs_what_uses_it(
    copied: Path, store: Path, edited: Edited, request: pytest.FixtureRequest
) -> None:
    edited.path.write_text(edited.text + "\n\ndef _new() -> int:\n    return 1\n")
    name = edited.path.relative_to(copied / "augpipe").as_posix()
    assert made(elsewhere(copied, store)) == CODE[name]


@pytest.mark.parametrize("edited", ["generators/fit.py"], indirect=True)
def test_a_comment_runs_nothing(copied: Path, store: Path, edited: Edited) -> None:
    edited.path.write_text("# a remark\n" + edited.text.replace("\n\n\ndef", "\n\n\n\ndef"))
    assert not made(elsewhere(copied, store))


def test_threads_and_versions_count(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = job(store)
    assert made(lines(work.model_copy(update={"threads": 2}))) == ALL
    monkeypatch.setattr(code, "libraries", lambda: {"scipy": "0.1"})
    assert made(lines(work)) == ALL


def test_fresh_recalls_nothing(store: Path) -> None:
    work = job(store)
    assert made(lines(work.model_copy(update={"fresh": True}))) == ALL
    assert not made(lines(work))


def test_a_record_whose_files_are_gone_counts_for_nothing(store: Path) -> None:
    """And what is made anew is the same, so that what follows from it is recalled."""
    work = job(store)
    ref = caching.once(stages.train_features, work, stages.prepare(work), 0).value
    gone = ref.path.rename(ref.path.with_suffix(".gone"))
    try:
        assert made(lines(job(store))) == DOMAIN
    finally:
        gone.rename(ref.path)


@pytest.mark.parametrize("text", ["", "{", '{"result": 7}', '{"result": {"path": "/etc/passwd"}}'])
def test_a_damaged_record_counts_for_nothing(store: Path, text: str) -> None:
    for record in (store / "records").glob("train_features-*"):
        record.write_text(text)
    assert made(lines(job(store))) == DOMAIN


def test_a_stage_meets_only_what_it_says_it_reads(tmp_path: Path) -> None:
    """So that no result can follow from a setting that its key does not hold."""

    def curious(job: Job, n: int) -> Ref:
        assert job.experiment.fidelity
        return Ref(path=tmp_path, sha256=str(job.experiment.classifier.steps))

    curious.__module__ = "augpipe.pipeline.stages"  # its code has to be of the package
    stage = caching.reads("fidelity")(curious)
    with pytest.raises(AttributeError, match="classifier"):
        caching.once(stage, job(tmp_path / "store"), 1)


def test_widths_of_a_generator_are_told_apart() -> None:
    """A field typed as the base of all families' settings must not be dumped as that."""
    found = [
        job(Path("x"), f"generators.acgan.width={width}").settings(["generators"])
        for width in (0.1, 0.2)
    ]
    assert found[0] != found[1]


def test_every_stage_but_the_first_is_kept() -> None:
    assert {s.name for s in caching._STAGES.values()} >= set(stages.__all__) - {
        "prepare", "search_steps"
    }  # fmt: skip


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="a Random cannot be part of a key"):
        caching.content(__import__("random").Random(0))


def test_an_edit_under_a_process_keeps_nothing(tmp_path: Path, monkeypatch) -> None:
    """It runs what it imported: under the new code's key its results would be the old code's."""
    work = job(tmp_path / "store", "arms=[{name: real}]", "generators={}")
    edited = dict(code._BEGUN)
    edited[code.ROOT / "classifiers/train.py"] -= 1
    with monkeypatch.context() as patch:
        patch.setattr(code, "_BEGUN", edited)
        first = lines(work)
    assert made(first) == made(lines(work)) != set()
    assert not made(lines(work))


def test_a_copied_store_does_not_lean_on_the_first(tmp_path: Path) -> None:
    work = job(tmp_path / "store", "arms=[{name: real}]", "generators={}")
    lines(work)
    other = shutil.copytree(work.store, tmp_path / "elsewhere" / "store")
    assert made(lines(work.model_copy(update={"store": other})))
    assert not made(lines(work))
