"""Watches Prefect's server during a run: if it is lost, that is reported once, and Prefect waits for nothing any more
and logs nothing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from .connections import peers, shut, within
from .environment import seconds
from .output import report
from .quiet import nothing

LOST: Final = "Prefect's server of this run ended (was it killed?)"
PATIENCE: Final = 20.0  # seconds that a configured server may be away
ANSWER: Final = 10.0  # seconds to wait for an answer
HURRY: Final = 0.7  # seconds to wait for one while the command is being stopped
PAUSE: Final = 2.0  # seconds between two requests
BAD_GATEWAY: Final = (502, 503, 504)  # HTTP statuses of a proxy whose server is away
# Loggers of what Prefect sends and asks beside the run: events, logs, cancellations.
SENDERS: Final = ("prefect.events.clients", "prefect._internal.concurrency", "prefect.client", "asyncio")


@dataclass
class _Server:
    """What is known of Prefect's server. what: how it was lost."""

    lost: threading.Event = field(default_factory=threading.Event)
    away: threading.Event = field(default_factory=threading.Event)
    what: str = LOST


# One a process, as Prefect's address and settings are: they are read from the environment, and its loggers and clients,
# which ask here, are those of all threads.
_server = _Server()


def is_lost(wait: float = 0.0) -> bool:
    """Whether the server has ended before the command, or stays away. wait: seconds to wait for that to be noticed."""
    return _server.lost.wait(wait)


def how_lost() -> str:
    """What happened to the server, as a message says it."""
    return _server.what


def server_is_there() -> None:
    """Called when a server has started or is configured: it is neither lost nor away."""
    _server.lost.clear()
    _server.away.clear()
    _server.what = LOST


def lose(what: str = LOST) -> None:
    """The server is lost from now on."""
    _server.what = what
    _server.lost.set()


def patience() -> float:
    """`AUGPIPE_PREFECT_PATIENCE` in seconds."""
    return seconds("AUGPIPE_PREFECT_PATIENCE", PATIENCE)


class Silence:
    """How long a server has not answered, without the time in which this process was stopped, as by Ctrl-Z.

    limit: the patience. pause: seconds between two requests.
    """

    def __init__(self, url: str) -> None:
        self._url, self.limit = url, patience()
        self.pause, self._answer = min(PAUSE, self.limit / 2), min(ANSWER, max(self.limit, 1) / 2)
        self._misses, self._seconds, self._last = 0, 0.0, time.monotonic()

    def ask(self) -> bool:
        """Whether it answers now."""
        there, now = _answers(self._url, self._answer), time.monotonic()
        passed, self._last = now - self._last, now
        awake = passed < 2 * (self.pause + self._answer)
        self._misses = 0 if there else self._misses + 1
        self._seconds = 0.0 if there else self._seconds + passed * awake
        return there

    def is_over(self) -> bool:
        """Whether the patience has come to its end; not at the first request, in the middle of which this process may
        have been stopped.
        """
        return self._misses > 1 and self._seconds > self.limit


@contextmanager
def watched(url: str, on_loss: Callable[[], None]) -> Iterator[None]:
    """While the block runs, a thread asks the configured server for a sign of life.

    If it stays away longer than the patience, it is lost for the rest of the command, and `on_loss` is called from the
    thread. url: its address without user and password.
    """
    server_is_there()
    silence, stopping = Silence(url), threading.Event()

    def watch() -> None:
        while not stopping.wait(silence.pause):
            there = silence.ask()
            set_away(not there)
            if silence.is_over() and not stopping.is_set():
                lose(f"Prefect's server at {url} has not answered for {silence.limit:.0f} s")
                on_loss()
                _keep_shut(url, stopping)
                return

    threading.Thread(target=watch, name="api watch", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def is_away() -> bool:
    """Whether the server does not answer now."""
    return _server.away.is_set()


def set_away(away: bool) -> None:
    """While the server is away, Prefect does not log that it cannot reach it."""
    if not away:
        _server.away.clear()
        return
    _server.away.set()
    for name in SENDERS:
        logging.getLogger(name).addFilter(_is_there)  # once, however often


def _is_there(record: logging.LogRecord) -> bool:
    """Logging filter: False while the server is away."""
    return not _server.away.is_set()


def cut_off(url: str, wait: float = HURRY) -> None:
    """Called when a signal stops the command: if the server at `url` does not answer, no request to it is waited for.

    Prefect records the end of the run there, and would wait a minute for each answer; MLflow, half a minute. If the
    server does not answer, this function never returns: it shuts each new connection to it. wait: seconds before the
    server is asked, and for its answer.
    """
    time.sleep(wait)
    if not _answers(url, wait):
        hush()
        _keep_shut(url, threading.Event())


def _keep_shut(url: str, ended: threading.Event) -> None:
    """Shut each connection to a server that does not answer, until the event is set."""
    addresses = peers(url)
    while addresses and not ended.wait(HURRY / 10):
        shut(addresses)


def _answers(url: str, wait: float = ANSWER) -> bool:
    import httpx

    def status() -> int:
        # No certificate is checked, as no secret is sent and nothing is believed.
        with httpx.Client(verify=False, timeout=wait) as client:  # noqa: S501
            return client.get(f"{url.rstrip('/')}/health").status_code

    try:
        return within(wait, status) not in BAD_GATEWAY
    except (httpx.HTTPError, httpx.InvalidURL, OSError):  # the last: also TimeoutError
        return False


def continue_without() -> None:
    """Report the loss and `hush` Prefect. Tasks run without the server: it only records their states."""
    hush()
    report(f"{how_lost()}; the run continues without it")


def hush() -> None:
    """From now on Prefect neither retries a request, nor sends an event or a log, nor logs that it cannot."""
    from prefect.context import refresh_global_settings_context
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    for name in list(logging.root.manager.loggerDict):
        # What tasks log is about the tasks.
        if name.startswith(("prefect", "EventsWorker")) and name != "prefect.task_runs":
            logging.getLogger(name).addFilter(nothing)
    os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "0"
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    refresh_global_settings_context()
    logging.raiseExceptions = False  # what was still to be sent is reported by that
    EventsWorker.set_client_override(NullEventsClient)
    workers: Any = EventsWorker
    for worker in list(workers._instances.values()):
        # At exit Prefect waits for each queued event, seconds for one that cannot be sent.
        worker._client = NullEventsClient()
