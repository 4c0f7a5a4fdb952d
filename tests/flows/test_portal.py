"""A gateway in place of a tracking server: the page of a login, or a refusal that is not MLflow's."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError
from flows.tracking.pending import error_line, is_away
from flows.tracking.store import check_store


class Portal(BaseHTTPRequestHandler):
    """Answers every request with a page, or sends it on to one."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.startswith(("/login", "/page")) else 302)
        self.send_header("Location", "/login")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>Sign in</html>")

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("path", ["", "/page"])
def test_a_page_in_place_of_a_tracking_server(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}{path}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError, match=f"a web page answers in place of the tracking server.*{uri}"):
            check_store()
        # In mid-run, when the network has changed: what MLflow says of such an answer.
        with pytest.raises(MlflowException) as caught:
            MlflowClient(uri).search_experiments()
        assert error_line(caught.value).startswith("a web page answers")
        server.shutdown()


class GatewayServer(ThreadingHTTPServer):
    """status, body: of every answer."""

    status, body = 403, b""


class Gateway(BaseHTTPRequestHandler):
    """Answers every request with the server's status and body."""

    server: GatewayServer

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("body", [b'{"error_code": "X", "message": "no"}', b'{"message": "Forbidden"}', b"<html>"])
def test_a_gateway_that_refuses_is_reported_with_its_status(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with GatewayServer(("127.0.0.1", 0), Gateway) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        server.body = body
        for status in (401, 403, 404):
            server.status = status
            with pytest.raises(UserError, match=f"{uri} refuses calls: {status}: "):
                check_store()
        server.status = 503
        check_store()  # the run waits for it
        with pytest.raises(MlflowException) as caught:
            MlflowClient(uri).search_experiments()
        assert is_away(caught.value) and error_line(caught.value).startswith("503: ")
        server.shutdown()
