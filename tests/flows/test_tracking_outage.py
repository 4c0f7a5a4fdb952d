"""A tracking server that goes away in mid-run: nothing is lost, nothing is logged twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from servers import Mlflow
from tiny import CONFIG, ONE, augpipe, begin, tracking, until
from tracked import told

from augpipe.core.errors import UserError
from flows.engine import bare_text
from flows.logged import check_logged
from flows.tracking.store import check_store

SMALL = (
    "--set",
    "seeds=1",
    "--set",
    "generators={acgan: {kind: acgan, kimg: 1, ticks: 2, width: 0.06, batch: 50}}",
    "--set",
    "arms=[{name: real}, {name: acgan, generator: acgan, mix: {fill: 0.5}}]",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    server = Mlflow(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()
    mlflow.set_tracking_uri(None)


def tracked(url: str) -> list[Run]:
    """The runs of the one comparison that the store holds."""
    client = MlflowClient(url)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    own = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(own) == len(runs) - 1
    return sorted(runs, key=lambda run: str(run.info.run_name))


def test_a_server_is_asked_for_a_model_without_importing_mlflow(
    server: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(server.url)
    run = client.create_run("0").info.run_id
    client.create_registered_model("shapes")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server.url}/")
    check_logged(f"runs:/{run}/classifier")
    for address, message in (
        ("models:/nobody/1", "nobody"),
        ("models:/nobody/Production", "name=nobody not found"),
        ("models:/shapes/7", "shapes"),
        ("models:/shapes@champion", "alias champion not found"),
        ("models:/m-0", "m-0"),
        ("runs:/abc/classifier", "abc"),
    ):
        with pytest.raises(UserError, match=f"^cannot get {address} from MLflow: .*{message}"):
            check_logged(address)


def test_a_server_that_is_away_for_a_while_misses_nothing(tmp_path: Path, server: Mlflow) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    command = ("run", "tiny.yaml", "--out", "out", *SMALL)
    process = begin(tmp_path, *command, MLFLOW_TRACKING_URI=server.url)
    said = until(process, "generator acgan")
    server.kill()
    said += until(process, "scored")  # an arm that the server misses
    server.start()
    rest, _ = process.communicate(timeout=300)
    said += rest
    assert process.returncode == 0, said[-3000:]
    assert said.count("it is tried again later") == 1, said
    assert said.count("the tracking server answers again") == 1
    # What an unbroken store is told of the same run.
    uri = tracking(tmp_path)
    again = augpipe(tmp_path, *command, MLFLOW_TRACKING_URI=uri)
    assert again.status == 0, again.err[-3000:]
    broken, whole = tracked(server.url), tracked(uri)
    assert len(broken) == 1 + 1 + 2
    for one, other in zip(broken, whole, strict=True):
        assert told(MlflowClient(server.url), one) == told(MlflowClient(uri), other)


def test_a_server_that_stays_away_costs_the_run_nothing_but_its_record(tmp_path: Path, server: Mlflow) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = begin(
        tmp_path,
        "run",
        "tiny.yaml",
        "--out",
        "out",
        "--set",
        "arms=[{name: real}]",
        "--set",
        "generators={}",
        "--set",
        "seeds=1",
        "--set",
        "runner.threads=1",
        MLFLOW_TRACKING_URI=server.url,
        AUGPIPE_TRACKING_PATIENCE="2",
    )
    until(process, "scored")
    server.kill()
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 1, rest[-3000:]
    last = rest.strip().splitlines()[-1]
    assert "did not answer for 2 s" in last and "the same command logs what is missing" in last
    assert (tmp_path / "out" / "report.html").exists() and "Traceback" not in rest
    assert "ERROR" not in rest and rest.count("did not answer for 2 s") == 1
    server.start()


class Gate(BaseHTTPRequestHandler):
    """Passes everything to a real server until its token expires: when the file is there, or at a call with the last
    word.

    deaf: from then on it does not answer at all.
    """

    server: Any

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.last.encode() in self.path.encode() + body:
            self.server.expired.touch()
        if self.server.expired.exists() and self.server.deaf:
            self.server.closing.wait()
            return
        if self.server.expired.exists():
            self._answer(403, b'{"error_code": "PERMISSION_DENIED", "message": "token expired"}')
            return
        answer = requests.request(
            self.command,
            self.server.target + self.path,
            data=body,
            timeout=30,
            headers={k: v for k, v in self.headers.items() if k not in ("Host", "Content-Length")},
        )
        self._answer(answer.status_code, answer.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Gate, f"do_{method}", Gate._pass)


@contextmanager
def gate(target: str, expired: Path, last: str = "no call has this", deaf: bool = False) -> Iterator[str]:
    """The address of a gate before the server at `target`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Gate) as gate:
        gate.target, gate.expired, gate.last = target, expired, last  # type: ignore[attr-defined]
        gate.deaf, gate.closing = deaf, Event()  # type: ignore[attr-defined]
        Thread(target=gate.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{gate.server_port}"
        gate.closing.set()  # type: ignore[attr-defined]
        gate.shutdown()


@pytest.mark.parametrize("last", ["health", "runs/log-batch"], ids=["at the start", "in mid-run"])
def test_ctrl_c_while_the_tracking_server_does_not_answer(tmp_path: Path, server: Mlflow, last: str) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    with gate(server.url, tmp_path / "waits", last, deaf=True) as url:
        process = begin(
            tmp_path,
            "run",
            "tiny.yaml",
            "--out",
            "out",
            "--set",
            "name=deaf",
            "--set",
            "arms=[{name: real}]",
            "--set",
            "generators={}",
            "--set",
            "seeds=1",
            "--set",
            "runner.threads=1",
            MLFLOW_TRACKING_URI=url,
        )
        limit = time.monotonic() + 120
        while not (tmp_path / "waits").exists():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        took = time.monotonic() - begun
    assert process.returncode == 130 and took < 5, (took, rest)
    assert rest.splitlines()[-1].startswith("augpipe: stopped; no file is half-written.")
    assert "Traceback" not in rest and not (tmp_path / "out").exists()


def test_a_token_that_expires_in_mid_run_costs_the_run_nothing_but_its_record(tmp_path: Path, server: Mlflow) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    command = ("run", "tiny.yaml", "--out", "out", "--set", "name=expires", *SMALL)
    with gate(server.url, tmp_path / "expired") as url:
        process = begin(tmp_path, *command, MLFLOW_TRACKING_URI=url)
        said = until(process, "generator acgan")
        (tmp_path / "expired").touch()
        rest, _ = process.communicate(timeout=300)
        lines = (said + rest).strip().splitlines()
        assert process.returncode == 1 and "Traceback" not in rest, rest[-3000:]
        # The verdict is printed, then one line says what is missing and how to log it.
        assert lines[-2] == "report: out/report.html" and (tmp_path / "out/report.html").exists()
        assert "403" in lines[-1] and "arm acgan, seed 0" in lines[-1] and "the verdict" in lines[-1]
        assert "the same command logs what is missing" in lines[-1]
        assert len([line for line in lines if "403" in line]) == 2
        (tmp_path / "expired").unlink()
        again = augpipe(tmp_path, *command, MLFLOW_TRACKING_URI=url)
        assert again.status == 0, again.err[-3000:]
    client = MlflowClient(server.url)
    experiment = client.get_experiment_by_name("expires")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4  # of one comparison
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.tags["augpipe.verdict"] and parent.data.metrics


GATED = ("--arm", "smote", "--set", "gate=[agreement > 2]", "--set", "arms.smote.mix.fill={7: 5}")
ENDS = {  # arguments, the first call that is refused, status, what is printed for all that, what is missing
    "train": (("--generator", "smote"), "tracking_seconds", 1, "smote-seed0/samples.png", "the cost of tracking"),
    "balance": (GATED, "tracking_seconds", 3, "gate agreement > 2: does not hold", "the cost of tracking"),
    "refresh": (("--set", "arms=[{name: real}]"), "registered-models/create", 1, "", "the models in the registry"),
}


@pytest.mark.parametrize("command", ENDS)
def test_what_is_done_is_delivered_when_the_last_calls_are_refused(
    tmp_path: Path, server: Mlflow, command: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    arguments, last, status, result, missing = ENDS[command]
    sets = [part for one in (f"name={command}s", *ONE, "runner.workers=1") for part in ("--set", one)]
    with gate(server.url, tmp_path / "expired", last) as url:
        done = augpipe(tmp_path, command, "tiny.yaml", *arguments, *sets, MLFLOW_TRACKING_URI=url)
    assert done.status == status and result in done.out, done.err[-3000:]
    lines = [line for line in done.err.splitlines() if line.startswith("augpipe: ")]
    assert len(lines) == (2 if status == 3 else 1) and "Traceback" not in done.err
    assert "403" in lines[0] and missing in lines[0] and "Run the same command again" in lines[0]
    assert status == 1 or "a gate does not hold" in lines[1]
    if command == "refresh":
        report = tmp_path / "data" / "runs" / "refreshs" / "report.html"
        assert report.exists() and str(report) in lines[0]


def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:s3cret%21@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    with pytest.raises(UserError) as told:
        check_store()
    assert "s3cret" not in str(told.value) and "127.0.0.1:9" in str(told.value)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9/"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("bob", "s3cret!")
    # A user alone goes with the password that the environment has.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hers")
    with pytest.raises(UserError):
        check_store()
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("alice", "hers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:s3/cret@127.0.0.1:9/")
    with pytest.raises(UserError, match="written %2F") as told:
        check_store()
    assert "s3" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("at ftp://bob:pw@host/x and sqlite:///a@b", "at ftp://host/x and sqlite:///a@b"),
        ("http://u:pa/ss@host", "http://host"),
        ("http://u:p@ss@h/x", "http://h/x"),
        ("postgresql://u:p@h/db failed", "postgresql://h/db failed"),
        ("mail me@home", "mail me@home"),
    ],
)
def test_an_address_without_its_password(text: str, bare: str) -> None:
    assert bare_text(text) == bare
