"""`augpipe doctor`: each fault is one line that says what to do, and the other checks are made all the same."""

from __future__ import annotations

import http.server
import threading
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from in_process import call
from packaging.requirements import Requirement
from tiny import ROOT

from flows.doctor import EXTRAS

NOBODY = "http://me:secret@127.0.0.1:9"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "file").write_text("x" * 200)
    return tmp_path


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Addresses of a server: one path answers, one refuses the key, one fails."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"fine": 200, "closed": 401, "other": 404}[self.path.split("/")[1]]
            if self.headers.get("Authorization") == "Basic bWU6c2VjcmV0":  # me:secret
                status = 200
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {n: f"127.0.0.1:{server.server_port}/{n}" for n in ("fine", "closed", "other")}
        server.shutdown()


def test_nothing_is_wrong_and_nothing_is_written(place, servers, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{servers['closed']}")
    monkeypatch.setenv("PREFECT_API_URL", f"http://{servers['fine']}/api")
    before = sorted(place.rglob("*"))
    status, said = call(monkeypatch, capsys, "doctor")
    lines = said.splitlines()
    assert status == 0 and lines[-1] == "no problem", said
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "note"}
    assert f"augpipe {metadata.version('augpipe')}" in said and "device cpu" in said
    assert f"MLFLOW_TRACKING_URI http://{servers['closed']} answers" in said
    assert "secret" not in said and sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AUGPIPE_HOME": "file"}, "AUGPIPE_HOME {place}/file cannot be a folder"),
        ({"AUGPIPE_HOME": "/proc/x"}, "cannot write to AUGPIPE_HOME /proc/x"),
        ({"AUGPIPE_HOME": "~nobody-here/x"}, "AUGPIPE_HOME '~nobody-here/x' begins with a user's home"),
        ({"AUGPIPE_STORE_LIMIT": "much"}, "AUGPIPE_STORE_LIMIT must be a size such as 500MB"),
        ({"AUGPIPE_TRACKING_PATIENCE": "soon"}, "AUGPIPE_TRACKING_PATIENCE must be seconds"),
        ({"MLFLOW_TRACKING_URI": NOBODY}, "no server answers at MLFLOW_TRACKING_URI http://127.0.0.1:9 ("),
        ({"MLFLOW_TRACKING_URI": "http://{closed}"}, "refuses the key or password"),
        (
            {"MLFLOW_TRACKING_URI": "postgresql://me:secret@127.0.0.1:9/x"},
            "nothing listens at MLFLOW_TRACKING_URI postgresql://127.0.0.1:9/x",
        ),
        ({"MLFLOW_TRACKING_URI": "sqlite:///file"}, "MLflow's database file is damaged"),
        ({"PREFECT_API_URL": "http://{other}/api"}, "answers 404: it may be another one"),
        (
            {"PREFECT_HOME": "profile"},
            "no server answers at PREFECT_API_URL of profile/profiles.toml http://127.0.0.1:9/api",
        ),
        ({"HTTPS_PROXY": NOBODY}, "nothing listens at HTTPS_PROXY http://127.0.0.1:9"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_a_fault_is_one_line(variables, message, place, servers, monkeypatch, capsys) -> None:
    (place / "profile").mkdir()
    (place / "profile" / "profiles.toml").write_text(
        'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(**servers))
    status, said = call(monkeypatch, capsys, "doctor")
    lines = said.splitlines()
    problems = [line for line in lines if line.startswith("problem")]
    assert status == 1 and message.format(place=place) in problems[0], said
    # A home that cannot be used is named by each check that needs it.
    assert len(problems) == 1 or "AUGPIPE_HOME" in variables
    assert lines[-1].startswith(str(len(problems))) and len(lines) >= 9
    assert "secret" not in said and "Traceback" not in said


def test_each_extra_that_is_not_for_developers_is_reported() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {(Requirement(text).name, extra) for extra, texts in extras.items() if extra != "dev" for text in texts}
    assert wanted - {("cryptography", "c2pa")} == set(EXTRAS.items())  # MLflow brings it


def test_libraries_that_do_not_fit(place, monkeypatch, capsys) -> None:
    wanted = ["torch<1", "not-a-library>=2", "pydicom<1; extra == 'medical'", "numpy>=2"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    status, said = call(monkeypatch, capsys, "doctor")
    problems = [line for line in said.splitlines() if line.startswith("problem")]
    assert status == 1 and len(problems) == 2
    assert "does not fit this augpipe: pip install 'torch<1'" in problems[0]
    assert problems[1].endswith("not-a-library is not installed: pip install 'not-a-library>=2'")
