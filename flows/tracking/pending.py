"""Calls to the tracking server: made at once, or kept and made again while the server is away."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import requests
from mlflow.exceptions import MlflowException, RestException
from prefect import task
from prefect.cache_policies import NO_CACHE

from augpipe.core.errors import RunError, UserError, is_full

from ..engine import bare_text

T = TypeVar("T")
PAUSES: Final = [1.0, 2.0, 4.0, 8.0, 15.0]  # seconds between two tries; the last for all later ones
PATIENCE: Final = 600.0  # seconds that a run waits for the server at its end
INTERNAL_ERROR: Final = 500  # HTTP states from here on are the server's own failures
TOO_MANY: Final = 429
FAULTS: Final = 5  # answers of 500 in a row to one call, after which the run gives up
HURRY: Final = "2"  # seconds that a call may take when the run is being stopped
MISSED: Final = "the run's own files are whole, and the same command logs what is missing without training again"


class TrackingLostError(RunError):
    """The tracking server stayed away too long, or keeps failing; all else of the run is done."""


def is_away(error: object) -> bool:
    """Whether the server is away for now (no connection, timeout, 5xx, 429), rather than refusing the call."""
    status = _status(error)
    if status is None:  # a local store may be busy
        return (
            isinstance(error, MlflowException)
            and error.error_code == "TEMPORARILY_UNAVAILABLE"
            and not is_full(error)
        )
    return status == 0 or status >= INTERNAL_ERROR or status == TOO_MANY


def _status(error: object) -> int | None:
    """HTTP status of the server's answer; 0 if none came; None if the error is not the connection's."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError
    ):
        stated = re.search(r"too many (\d+) error responses", str(error))
        return int(stated[1]) if stated else 0
    if isinstance(error, RestException):
        return int(error.get_http_status_code())
    if isinstance(error, MlflowException) and str(error).startswith("API request to"):
        inner = _status(error.__cause__ or error.__context__)
        return int(error.get_http_status_code()) if inner is None else inner
    return None


def patience() -> float:
    """`AUGPIPE_TRACKING_PATIENCE` in seconds; UserError if it is not a number of seconds."""
    text = os.environ.get("AUGPIPE_TRACKING_PATIENCE", str(PATIENCE))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"AUGPIPE_TRACKING_PATIENCE must be seconds, 0 or more; got {text!r}")
    return seconds


def _retry(task: Any, run: Any, state: Any) -> bool:
    return is_away(state.data)


@task(
    name="wait for the tracking server", cache_policy=NO_CACHE, persist_result=False,
    retries=100_000, retry_delay_seconds=PAUSES, retry_condition_fn=_retry,
)  # fmt: skip
def _wait(call: Callable[[], None]) -> None:
    """Make calls until the server takes them; `call` itself raises TrackingLostError to give up."""
    call()


class Pending:
    """Calls in order, each idempotent: one that the server missed is made again, later ones wait for it.

    report: gets a line when the server goes away and when it answers again. seconds: processor time of all calls.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._patience, self._report = patience(), report
        self.seconds = 0.0
        self._misses = self._faults = 0  # in a row
        self._next, self._until = 0.0, float("inf")

    def add(self, call: Callable[[], object]) -> None:
        """Make the call after those that wait, or keep it if the server is away; raises what the server refuses."""
        self._calls.append(call)
        if time.monotonic() >= self._next:
            try:
                self._make()
            except Exception as error:
                if not is_away(error):
                    raise

    def finish(self) -> None:
        """Make all calls that wait; TrackingLostError if the server stays away longer than the patience."""
        if self._calls:
            self._until = time.monotonic() + self._patience
            try:
                _wait(self._make)
            finally:
                self._until = float("inf")

    def result(self, call: Callable[[], T]) -> T:
        """Make the call, waiting for the server like `finish`; returns its result."""
        results: list[T] = []
        self.add(lambda: results.append(call()))
        self.finish()
        return results[-1]

    def _make(self) -> None:
        while self._calls:
            began = time.thread_time()  # beside busy workers, wall time is mostly theirs
            try:
                self._calls[0]()
            except Exception as error:
                if is_away(error):
                    self._missed(error)
                else:
                    self._calls.popleft()  # refused, and it would be again
                raise
            finally:
                self.seconds += time.thread_time() - began
            self._calls.popleft()
            if self._misses:
                self._report("the tracking server answers again")
            self._misses, self._faults, self._next = 0, 0, 0.0

    def _missed(self, error: Exception) -> None:
        if not self._misses:
            reason = bare_text(" ".join(str(error).split()))[:160]
            self._report(f"the tracking server does not answer; it is tried again later ({reason})")
        self._next = time.monotonic() + PAUSES[min(self._misses, len(PAUSES) - 1)]
        self._misses += 1
        self._faults = self._faults + 1 if _status(error) == INTERNAL_ERROR else 0
        lost = ""
        if self._faults >= FAULTS:
            lost = f"failed ({INTERNAL_ERROR}) {FAULTS} times at the same call; see its log"
        elif time.monotonic() >= self._until:
            lost = f"did not answer for {self._patience:.0f} s"
        if lost and self._until < float("inf"):
            raise TrackingLostError(f"the tracking server {lost}; {MISSED}") from None


@contextmanager
def hurried() -> Iterator[None]:
    """Calls in the block time out soon and their errors are dropped: a run that is being stopped waits for no server."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    before = os.environ.get(name)
    os.environ[name] = HURRY
    try:
        with suppress(Exception):
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
