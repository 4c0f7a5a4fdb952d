"""Calls to the tracking server that wait, are tried again, or are given up."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from tiny import tracking
from tracked import prefect

from augpipe.core.errors import UserError
from flows.tracking import pending, uploads
from flows.tracking.pending import Pending, TrackingLostError, hurried, is_away, is_refused, patience


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """A Prefect server, and short pauses between tries."""
    with pytest.MonkeyPatch.context() as patch, prefect():
        shorter = pending._wait.with_options(retry_delay_seconds=[0.05])
        patch.setattr(pending, "_wait", shorter)
        patch.setattr(pending, "PAUSES", [0.05])
        yield


def test_nothing_overtakes_a_call_that_waits(tmp_path: Path, quick: None) -> None:
    """The real client on a real store, which is away at two tries."""
    client = MlflowClient(tracking(tmp_path))
    run = client.create_run(client.create_experiment("e")).info.run_id
    lines: list[str] = []
    waiting, tries = Pending(lines.append), []

    def first() -> None:
        tries.append("first")
        if tries.count("first") < 3:
            raise requests.ConnectionError("away")
        client.set_terminated(run)

    waiting.add(first)
    waiting.add(lambda: tries.append(client.get_run(run).info.status))
    assert set(tries) == {"first"}
    waiting.finish()
    assert tries == ["first"] * 3 + ["FINISHED"]
    assert len(lines) == 2 and "does not answer" in lines[0] and "answers again" in lines[1]
    assert waiting.result(lambda: 5) == 5 and len(lines) == 2


class Failing(BaseHTTPRequestHandler):
    """Answers everything with 500, as a server does whose artifact folder cannot be written to, or with a page."""

    server: Any

    def do_POST(self) -> None:
        self.send_response(200 if self.server.page else 500)
        self.send_header("Content-Length", str(len(self.server.page)))
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("page", "line"),
    [(b"", r"failed \(500\) 5 times at the same call"), (b"<html></html>", pending.PAGE)],
    ids=["500", "a page"],
)
def test_a_server_that_answers_and_fails_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, quick: None, page: bytes, line: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        server.page = page  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        client = MlflowClient(f"http://127.0.0.1:{server.server_port}")
        lines: list[str] = []
        waiting, tries = Pending(lines.append), []

        def call() -> None:
            tries.append(1)
            client.set_tag("run", "a", "b")

        waiting.add(call)  # in mid-run it only waits
        with pytest.raises(TrackingLostError, match=line) as lost:
            waiting.finish()
        assert len(tries) == 5 and len(lines) == 1 and "it is tried again later" in lines[0]
        assert not page or all(line in text and "500" not in text for text in (lines[0], str(lost.value)))
        server.shutdown()


class Swallowing(BaseHTTPRequestHandler):
    """Answers uploads, and what lists them, with status 200 and one body."""

    server: Any

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_PUT = do_GET = _answer  # noqa: N815 (names of http.server)

    def log_message(self, format: str, *args: Any) -> None:
        pass


LISTED = '{"files": [{"path": "a.txt", "is_dir": false, "file_size": %d}]}'
BODIES = (  # of every answer, the error, whether the server is away
    ("<html>log in</html>", pending.PAGE, True),
    ('{"files": []}', "the artifact store took a.txt and does not have it", False),
    (LISTED % 2, "the artifact store took a.txt", False),
    (LISTED % 3, "", False),
)


def test_an_upload_counts_only_when_the_store_has_it(tmp_path: Path) -> None:
    """The real client; its artifact store is a page, loses what it is sent, cuts it off, or has it."""
    (tmp_path / "sent/b").mkdir(parents=True)
    (tmp_path / "sent/a.txt").write_text("abc")
    client = MlflowClient(tracking(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Swallowing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}/api/2.0/mlflow-artifacts/artifacts/e"
        run = client.create_run(client.create_experiment("e", place)).info.run_id
        for body, line, away in BODIES:
            server.body = body.encode()  # type: ignore[attr-defined]
            if not line:
                uploads.send_folder(client, run, tmp_path / "sent")
                continue
            for send, path in ((uploads.send_folder, tmp_path / "sent"), (uploads.send_file, tmp_path / "sent/a.txt")):
                with pytest.raises(MlflowException) as lost:
                    send(client, run, path)
                assert line in pending.error_line(lost.value) and is_away(lost.value) == away
        server.shutdown()
    (tmp_path / "sent/b/c.txt").write_text("d")
    experiment = client.create_experiment("whole", (tmp_path / "store").as_uri())
    run, model = client.create_run(experiment).info.run_id, client.create_logged_model(experiment, "m").model_id
    uploads.send_folder(client, run, tmp_path / "sent", "images")
    uploads.send_file(client, run, tmp_path / "sent/a.txt", "images/b")
    uploads.send_model(client, model, tmp_path / "sent")
    assert sorted(path.name for path in (tmp_path / "store").rglob("*.txt")) == ["a.txt"] * 3 + ["c.txt"] * 2


def test_a_run_that_is_stopped_waits_for_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the question and never answers."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(pending, "HURRY", "1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = MlflowClient(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        began = time.monotonic()
        with hurried():
            client.set_terminated("a run", "KILLED")
        assert time.monotonic() - began < 3


def test_what_the_server_refuses_is_left_out_and_reported_at_the_end(tmp_path: Path) -> None:
    client = MlflowClient(tracking(tmp_path))
    run = client.create_run(client.create_experiment("e")).info.run_id
    lines: list[str] = []
    waiting = Pending(lines.append)
    for n in range(5):
        waiting.add(lambda: client.create_run("12345"), f"arm {n}")
    # It does not stand in the way of later calls.
    waiting.add(lambda: client.set_terminated(run))
    assert client.get_run(run).info.status == "FINISHED" and waiting.refused
    assert len(lines) == 1 and "12345" in lines[0] and "the run continues" in lines[0]
    with pytest.raises(TrackingLostError, match=r"12345.*not logged: arm 0, arm 1, arm 2 and 2 more;"):
        waiting.finish()


def test_a_run_that_cannot_be_tracked_at_all_ends_at_once(tmp_path: Path) -> None:
    client = MlflowClient(tracking(tmp_path))
    with pytest.raises(UserError, match=r"this run cannot be tracked: .*12345"):
        Pending(print).result(lambda: client.create_run("12345"))


def test_an_error_of_ours_is_not_the_servers(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Pending(print).add(lambda: {}["x"])
    full = OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        raise full

    with pytest.raises(OSError, match="No space"):
        Pending(print).add(write)


def test_patience(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setenv("AUGPIPE_TRACKING_PATIENCE", "soon")
    with pytest.raises(UserError, match=r"AUGPIPE_TRACKING_PATIENCE must be seconds.*'soon'"):
        patience()
    monkeypatch.setenv("AUGPIPE_TRACKING_PATIENCE", "0.1")
    waiting = Pending(print)

    def away() -> None:
        raise requests.ConnectionError("away")

    waiting.add(away)
    with pytest.raises(TrackingLostError, match="did not answer for 0 s"):
        waiting.finish()


def test_what_is_away() -> None:
    assert is_away(requests.ConnectionError()) and is_away(requests.Timeout())
    assert is_away(requests.exceptions.RetryError("too many 503 error responses"))
    assert not is_away(ValueError()) and not is_away(MlflowException("a fault of its own"))
    response = requests.Response()
    for status, away in ((503, True), (429, True), (403, False)):
        response.status_code = status
        assert is_away(requests.HTTPError(response=response)) is away
    # A gateway's refusal in its own words; MLflow's own errors keep their status.
    for code, away in (("X", False), ("403", False), ("PERMISSION_DENIED", False), ("TEMPORARILY_UNAVAILABLE", True)):
        assert is_away(RestException({"error_code": code, "message": "no"})) is away
    assert is_refused(RestException({"error_code": "X", "message": "no"}))
    # The user's mistake stays one, whatever it was met in.
    mistake = UserError("x")
    mistake.__context__ = requests.ConnectionError()
    assert not is_away(mistake)
