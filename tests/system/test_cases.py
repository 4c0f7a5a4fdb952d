"""Inputs of others' troubles that lie beside the checkout:
each script makes ./case, and its head says what to run there.
"""

from __future__ import annotations

import runpy
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import warm
from in_process import call
from tiny import augpipe

from augpipe.core.errors import UserError
from flows.databases import ensure_mlflow
from flows.load_config import suggest_checked

SCRIPTS = Path(__file__).resolve().parents[3] / "shared" / "cases"
TABLE = "inspect case/HAM10000_metadata.csv --set source.columns.path=image_id source.columns.label=dx source.columns.group=lesion_id"
# Script → command, exit status, and words of its answer (those after a ! are not there). `run`: up to where servers
# would start.
CASES: dict[str, list[tuple[str, int, str]]] = {
    "01": [
        (
            "inspect case/t.csv --set source.columns.group=lesionid",
            2,
            "no column 'lesionid' (did you mean 'lesion_id'?)",
        )
    ],
    "02": [
        ("inspect case", 2, "HAM10000_metadata.csv names the pictures in its column 'image_id'"),
        (TABLE, 0, "40 images of 2 classes ! no such file"),
    ],
    "03": [("inspect case", 0, "24 images of 2 classes ! stops a run ! leak"), ("run case", 0, "")],
    "04": [
        ("inspect case", 0, "84 images of 2 classes | the folder chest_xray contains the same files again ! {split}")
    ],
    "05": [
        (f"run case --set arms.classic.mix.transform=case/{name}.yaml", 0, "") for name in ("ssr", "pad", "rgb", "safe")
    ],
    "06": [
        ("run case --set image.size=64 arms.classic.mix.transform=case/crop.yaml", 0, ""),
        ("run case --set image.size=64 arms.classic.mix.transform=case/r32.yaml", 2, "32"),
    ],
    "07": [("run case --set 'imbalance={profile: counts, counts: {yes: 10}}'", 0, "")],
    "11": [
        ("inspect case", 0, "stops a run: class 'b' has 2 images; train, val and test need at least 3"),
        ("run case", 2, "class 'b' has 2 images; train, val and test need at least 3"),
    ],
    "12": [("inspect case --set 'source.layout=images/{label}_*.png'", 2, "in several ways | {label+}")],
    "13": [("inspect case/t.csv", 0, "24 images of 2 classes ! no such file")],
    "14": [("inspect case", 0, "24 images of 2 classes ! without PatientID ! no picture")],
    "15": [
        ("inspect case", 2, "30 pictures that are by their names masks or overlays of others | source.exclude="),
        (
            "inspect case --set 'source.exclude=[*_mask.png]'",
            0,
            "30 images of 2 classes ! mask of another ! cannot use",
        ),
    ],
}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Function that runs a script by its number, in an empty folder with a home of its own; gives the folder."""
    if not SCRIPTS.is_dir():
        pytest.skip("no shared/cases beside the checkout")

    def run(number: str) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
        with warnings.catch_warnings():  # of the script, not of augpipe
            warnings.simplefilter("ignore")
            runpy.run_path(str(next(SCRIPTS.glob(f"{number}_*.py"))))
        return tmp_path

    return run


@pytest.mark.parametrize("number", CASES)
def test_a_case_gives_what_its_head_asks_for(
    number: str, make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(number)
    for command, status, words in CASES[number]:
        name, path, *options = shlex.split(command)
        answer = 0, ""
        if name == "run":
            try:
                suggest_checked(Path(path), tuple(options[1:]))
            except UserError as error:
                answer = 2, str(error)
        else:
            answer = call(monkeypatch, capsys, name, path, *options)
        wanted, *absent = words.split(" ! ")
        assert answer[0] == status, answer
        assert all(part in answer[1] for part in wanted.split(" | ")), answer
        assert not any(part in answer[1] for part in absent), answer


def test_a_database_of_an_earlier_mlflow_is_migrated_or_named(make: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "home_old" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(warm.database(), path)  # the script would build one, which takes seconds
    make("09")
    before = path.read_bytes()
    try:
        ensure_mlflow(path, (path.parent / "artifacts").as_uri())
    except UserError as error:  # the script changes the version alone: its tables are the later ones
        assert "was written by an earlier MLflow and cannot be migrated" in str(error)
        assert "\n" not in str(error) and path.read_bytes() == before


def test_a_run_with_a_long_class_name_and_a_proxy(make: Callable[[str], Path]) -> None:
    place = make("08")
    (place / "c.yaml").write_text(
        "{name: case, source: {kind: folder, path: case}, image: {size: 16}, seeds: 1, confirm: off, baseline: real,\n"
        "arms: [{name: real}], classifier: {steps: 4, evaluations: 1, width: 0.25}, runner: {workers: 1, threads: 1}}"
    )
    proxy = "http://127.0.0.1:9"
    done = augpipe(place, "run", "c.yaml", "--out", "out", HTTP_PROXY=proxy, http_proxy=proxy)
    assert done.status == 0, done.err[-3000:]
    assert "k" * 240 in (place / "out" / "scores.csv").read_text()
