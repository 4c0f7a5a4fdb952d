"""A web page in place of a tracking server, as of a login or of a network that asks for one."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from augpipe.core.errors import UserError
from flows.tracking.pending import _line
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
        assert _line(caught.value).startswith("a web page answers")
        server.shutdown()
