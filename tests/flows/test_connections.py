"""Servers whose answer takes for ever though each byte of it comes in time, on real sockets."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from prefect.settings import PREFECT_API_URL, temporary_settings

from augpipe.core.errors import UserError
from flows import engine, server_watch
from flows.connections import drips_cut, within
from flows.tracking import store
from flows.tracking.pending import is_away

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def dripping(pause: float, whole: bytes = b"") -> Iterator[str]:
    """The address of a server that sends the beginning of an answer at once, then a byte after each pause."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(2**16)
            connection.sendall(whole)
            while True:
                time.sleep(pause)
                connection.sendall(b" ")

    def accept() -> None:
        with suppress(OSError):  # the block is left
            while True:
                Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(sys.platform != "linux", reason="counts bytes as Linux does")
@pytest.mark.parametrize("whole", [b"", HEAD], ids=["its head", "its body"])
def test_an_answer_that_drips_is_cut_off_and_counts_as_an_absence(
    monkeypatch: pytest.MonkeyPatch, whole: bytes
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with dripping(0.05, whole) as url, drips_cut(url, 0.3):
        begun = time.monotonic()
        with pytest.raises(MlflowException) as raised:
            MlflowClient(url).set_tag("run", "a", "b")
        assert is_away(raised.value) and time.monotonic() - begun < 5


@pytest.mark.skipif(sys.platform != "linux", reason="counts bytes as Linux does")
def test_an_answer_that_is_long_in_coming_is_waited_for() -> None:
    with (
        dripping(1.0, HEAD[:1]) as url,
        drips_cut(url, 0.2),
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(1) == HEAD[:1]
        time.sleep(0.7)
        assert connection.recv(1) == b" "


def test_a_server_that_drips_from_the_start_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.3)
    monkeypatch.setattr(engine, "PATIENCE", 0.3)
    with dripping(0.05, HEAD) as url, temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(UserError, match=r"no MLflow server answers at .*: no whole answer within 0 s"):
            store.check_store()
        with pytest.raises(UserError, match=r"no Prefect server answers at .*: no whole answer within 1 s"):
            engine.check_api()
        assert not server_watch._answers(url, 0.3)


def test_a_limit_on_the_whole_time_of_a_call() -> None:
    assert within(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        within(5, lambda: {}[1])
    with pytest.raises(TimeoutError, match="within 0 s"):
        within(0.1, lambda: time.sleep(1))


def test_time_in_which_the_command_was_stopped_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z, a night, and `fg`."""
    now, there = 0.0, False
    monkeypatch.setattr(server_watch.time, "monotonic", lambda: now)
    monkeypatch.setattr(server_watch, "_answers", lambda url, wait: there)
    silence = server_watch.Silence("a server")
    for passed, over in ((10, False), (30_000, False), (12, True)):
        now += passed
        assert not silence.ask() and silence.is_over() is over
    there = True
    now += 1
    assert silence.ask() and not silence.is_over()
