"""A tracking server that goes away in mid-run: nothing is lost, nothing is told twice."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import mlflow
import pytest
import requests
from flows.outbox import Outbox, TrackingLostError, away, hurried, patience, patiently
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from servers import Mlflow
from tiny import CONFIG, augpipe, begin, until

from augpipe.core.errors import UserError
from flows.engine import bare_text
from flows.tracking.store import check_store

AWAY = 60.0  # seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mlflow]:
    server = Mlflow(tmp_path / "server")
    yield server
    server.kill()
    mlflow.set_tracking_uri(None)


def tracked(url: str) -> dict[str, list[Run]]:
    """Every run of the newest comparison and of those before it, by parent, newest first."""
    client = MlflowClient(url)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return {
        parent.info.run_id: [
            parent, *(r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id)
        ]
        for parent in sorted(parents, key=lambda run: -run.info.start_time)
    }  # fmt: skip


def below(client: MlflowClient, run: str, path: str = "") -> Iterator[str]:
    for one in client.list_artifacts(run, path):
        if one.is_dir:
            yield from below(client, run, one.path)
        else:
            yield one.path


def told(client: MlflowClient, run: Run) -> tuple[object, ...]:
    """All that a run's record says, but for times and what they are about."""
    loose = ("seconds", "tracking_seconds")
    metrics = {k: v for k, v in run.data.metrics.items() if k not in loose}
    history = [
        (m.value, m.step) for key in metrics if key.startswith(("history", "loss"))
        for m in client.get_metric_history(run.info.run_id, key)
    ]  # fmt: skip
    # A preview's name holds when it was told and a mark of its own.
    files = sorted(re.split("[+%]", path)[0] for path in below(client, run.info.run_id))
    inputs = sorted((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs)
    return (
        run.info.run_name, run.info.status, run.data.params, metrics, history, files, inputs,
        len(run.outputs.model_outputs),
    )  # fmt: skip


def test_a_server_that_is_away_for_a_minute_misses_nothing(tmp_path: Path, server: Mlflow) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = begin(tmp_path, "run", "tiny.yaml", "--out", "out", MLFLOW_TRACKING_URI=server.url)
    said = until(process, "generator acgan")
    server.kill()
    time.sleep(AWAY)
    server.start()
    rest, _ = process.communicate(timeout=300)
    said += rest
    assert process.returncode == 0, said[-3000:]
    assert said.count("the tracking server does not answer; what it misses is kept") == 1, said
    assert said.count("the tracking server answers again") == 1
    # The same run again finds everything made; what it tells an unbroken server is what this one was told.
    again = augpipe(tmp_path, "run", "tiny.yaml", "--out", "out", MLFLOW_TRACKING_URI=server.url)
    assert again.status == 0, again.err[-3000:]
    client = MlflowClient(server.url)
    whole, broken = tracked(server.url).values()
    assert len(broken) == 1 + 4 * 3 + 2 * 3
    name = lambda run: str(run.info.run_name)  # noqa: E731
    for one, other in zip(sorted(broken, key=name), sorted(whole, key=name), strict=True):
        assert told(client, one) == told(client, other)


def test_a_server_that_stays_away_costs_the_run_nothing_but_its_record(
    tmp_path: Path, server: Mlflow
) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = begin(
        tmp_path, "run", "tiny.yaml", "--out", "out", "--set", "arms=[{name: real}]",
        "--set", "generators={}", MLFLOW_TRACKING_URI=server.url, AUGPIPE_TRACKING_PATIENCE="2",
    )  # fmt: skip
    until(process, "scored")
    server.kill()
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 1, rest[-3000:]
    last = rest.strip().splitlines()[-1]
    assert "did not answer for 2 s" in last and "told anew when the run is repeated" in last
    assert (tmp_path / "out" / "report.html").exists()


def test_answered_calls_are_not_made_again(tmp_path: Path) -> None:
    """The real client on a real store; what is lost on the way is its answer's reader."""
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("e", artifact_location=tmp_path.as_uri())
    said: list[str] = []
    outbox = Outbox(client, said.append)
    tries = []

    def entry() -> None:
        run = outbox.client.create_run(experiment).info.run_id
        outbox.client.log_metric(run, "m", 1.0, step=len(tries))
        tries.append(run)
        if len(tries) < 3:
            raise requests.ConnectionError("away")
        outbox.client.set_terminated(run)

    outbox.put(entry)
    outbox.put(lambda: tries.append("second"))
    assert len(tries) == 1  # nothing overtakes an entry that waits
    outbox.flush()
    assert tries[:3] == [tries[0]] * 3 and tries[3:] == ["second"]
    runs = client.search_runs([experiment])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert [m.step for m in client.get_metric_history(runs[0].info.run_id, "m")] == [0]
    assert len(said) == 2


class Lossy:
    """The real client; the answers to the first two creations are lost on the way."""

    def __init__(self, real: MlflowClient) -> None:
        self._real, self.lost = real, 0

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            answer = getattr(self._real, name)(*given, **named)
            if name in ("create_run", "create_logged_model") and self.lost < 2:
                self.lost += 1
                raise requests.ConnectionError("the answer is lost")
            return answer

        return call


def test_what_was_made_though_its_answer_was_lost_is_not_made_again(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("e", artifact_location=tmp_path.as_uri())
    outbox = Outbox(cast(MlflowClient, Lossy(client)), print)

    def entry() -> None:
        run = outbox.client.create_run(experiment).info.run_id
        model = outbox.client.create_logged_model(experiment, "m", source_run_id=run)
        outbox.client.finalize_logged_model(model.model_id, "READY")
        outbox.client.set_terminated(run)

    outbox.put(entry)
    outbox.flush()
    assert [run.info.status for run in client.search_runs([experiment])] == ["FINISHED"]
    assert len(client.search_logged_models([experiment])) == 1


class Failing(BaseHTTPRequestHandler):
    """Answers everything with 500, as a server does whose artifact folder cannot be written to."""

    def do_POST(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_server_that_answers_and_fails_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = MlflowClient(f"http://127.0.0.1:{server.server_port}")
        outbox = Outbox(client, print)
        outbox.put(lambda: outbox.client.set_tag("run", "a", "b"))  # in mid-run it only waits
        begun = time.monotonic()
        with pytest.raises(
            TrackingLostError, match=r"answers, and fails \(500\) at the same thing 5 times"
        ):
            outbox.flush()
        assert time.monotonic() - begun < 60
        with pytest.raises(TrackingLostError):
            patiently(lambda: client.set_tag("r", "a", "b"), print)
        server.shutdown()


def test_a_run_that_is_stopped_waits_for_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the question and never answers."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = MlflowClient(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        begun = time.monotonic()
        with hurried():
            client.set_terminated("a run", "KILLED")
        assert time.monotonic() - begun < 4


def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:s3cret%21@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    with pytest.raises(UserError) as told:
        check_store()
    assert "s3cret" not in str(told.value) and "127.0.0.1:9" in str(told.value)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9/"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (
        "bob",
        "s3cret!",
    )
    # A user alone goes with the password that the environment has.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hers")
    with pytest.raises(UserError):
        check_store()
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (
        "alice",
        "hers",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:s3/cret@127.0.0.1:9/")
    with pytest.raises(UserError, match="written %2F") as told:
        check_store()
    assert "s3" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("at ftp://bob:pw@host/x and sqlite:///a@b", "at ftp://host/x and sqlite:///a@b"),
        ("http://u:pa/ss@host", "http://host"), ("http://u:p@ss@h/x", "http://h/x"),
        ("postgresql://u:p@h/db failed", "postgresql://h/db failed"), ("mail me@home", "mail me@home"),
    ],
)  # fmt: skip
def test_an_address_without_its_password(text: str, bare: str) -> None:
    assert bare_text(text) == bare


def test_what_the_server_refuses_is_raised_once(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    outbox = Outbox(client, print)
    with pytest.raises(MlflowException, match=r"(No|no) experiment|No Experiment|does not exist"):
        outbox.put(lambda: outbox.client.create_run("12345"))
    outbox.flush()  # and it does not stand in the way of what comes after it


def test_patience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUGPIPE_TRACKING_PATIENCE", "soon")
    with pytest.raises(UserError, match=r"AUGPIPE_TRACKING_PATIENCE must be seconds.*'soon'"):
        patience()
    monkeypatch.setenv("AUGPIPE_TRACKING_PATIENCE", "0.1")
    outbox = Outbox(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"), print)

    def gone() -> None:
        raise requests.ConnectionError("away")

    outbox.put(gone)
    with pytest.raises(TrackingLostError):
        outbox.flush()


def test_what_is_away() -> None:
    assert away(requests.ConnectionError()) and away(requests.Timeout())
    assert not away(ValueError()) and not away(MlflowException("a fault of its own"))
    response = requests.Response()
    response.status_code = 503
    assert away(requests.HTTPError(response=response))
    response.status_code = 403
    assert not away(requests.HTTPError(response=response))
