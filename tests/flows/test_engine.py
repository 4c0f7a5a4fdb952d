from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from concurrent.futures.process import BrokenProcessPool
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import stopping
import warm
from prefect.settings import PREFECT_API_URL, temporary_settings

from augpipe.core.errors import UserError
from flows import engine, server_watch


def test_prefects_home_is_below_ours_unless_there_is_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", "kept")
    monkeypatch.setenv("MPLCONFIGDIR", "kept")
    engine.settle()
    assert not (tmp_path / "data").exists()
    monkeypatch.delenv("PREFECT_HOME")
    (tmp_path / ".prefect").mkdir()
    engine.settle()
    assert not (tmp_path / "data").exists()
    (tmp_path / ".prefect").rmdir()
    import os

    engine.settle()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "data" / "prefect")
    assert (tmp_path / "data" / "prefect").is_dir()
    monkeypatch.delenv("PREFECT_HOME")


def test_nothing_phones_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    assert os.environ["DO_NOT_TRACK"] == "1" and os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from mlflow.telemetry.utils import is_telemetry_disabled
    from prefect.settings import get_current_settings

    assert is_telemetry_disabled()
    settings = get_current_settings()
    assert not settings.server.analytics_enabled
    assert settings.logging.level == os.environ["PREFECT_LOGGING_LEVEL"]


def test_workers_that_are_ended_with_much_to_come_leave_nothing_waiting(tmp_path: Path) -> None:
    warm.prefect()
    with pytest.raises(RuntimeError, match="stopped"):
        warm.call(stopping.stop, tmp_path, workers=1)
    assert (tmp_path / "closed").read_text() == "x"
    assert (tmp_path / "forked").read_text() == "[] [1]"  # started by the first task


def test_a_kill_of_the_process_that_workers_are_forked_from_breaks_the_pool(tmp_path: Path) -> None:
    """The first worker is requested from a process that does not live to start it."""
    with pytest.raises(BrokenProcessPool, match="forked from has ended"):
        warm.call(stopping.lose, tmp_path)


def test_below_a_long_temporary_folder_workers_are_new_processes(tmp_path: Path) -> None:
    """The path of a socket has at most 107 bytes."""
    place = tmp_path / ("x" * 100)
    place.mkdir()
    assert warm.call(stopping.forked_below, place) == []


def test_what_a_run_creates_first_is_for_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib would create its folder, and AUGPIPE_HOME around it, for all to read."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "new"))
    for name in ("MPLCONFIGDIR", "PREFECT_HOME"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    engine.settle()
    place = tmp_path / "new" / "matplotlib"
    assert os.environ["MPLCONFIGDIR"] == str(place)
    assert [path.stat().st_mode & 0o777 for path in (place, place.parent)] == [0o700] * 2


class Page(BaseHTTPRequestHandler):
    """A page for everything, as a login in front of a server shows."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_page_in_place_of_prefects_answer_is_named() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with (
            temporary_settings({PREFECT_API_URL: url}),
            pytest.raises(UserError, match=r"PREFECT_API_URL .*: what answers is no Prefect server"),
        ):
            engine.check_api()
        server.shutdown()


def test_a_worker_that_sigterm_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one in the middle of a library's handler; and where the process that it is forked from is stopped."""
    monkeypatch.setattr(engine, "STUBBORN", 0.1)
    worker = multiprocessing.get_context("fork").Process(target=signal.pause)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited
    worker.start()
    signal.signal(signal.SIGTERM, before)
    engine.stop_workers()
    worker.join(10)
    assert worker.exitcode == -signal.SIGKILL


def test_a_request_to_a_silent_server_is_cut_off_when_the_command_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch, "HURRY", 0.1)
    monkeypatch.setattr(server_watch, "hush", lambda: None)  # it would hold for all later tests
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        Thread(target=server_watch.cut_off, args=(url,), daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(httpx.TransportError):
            httpx.get(url, timeout=60)
        assert time.monotonic() - begun < 10
