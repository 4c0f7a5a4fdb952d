"""Queue of calls to the tracking server, retried while the server is unavailable."""

from __future__ import annotations

import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from prefect import task
from prefect.cache_policies import NO_CACHE

from augpipe.core.errors import RunError, UserError, is_full, one_line
from augpipe.core.processes import environment_variable

from ..engine import bare_text
from ..environment import seconds

T = TypeVar("T")
PAUSES: Final = [1.0, 2.0, 4.0, 8.0, 15.0]  # seconds between retries; the last one repeats
PATIENCE: Final = 600.0  # seconds a run waits for the server at its end
INTERNAL_ERROR: Final = 500  # HTTP statuses from here on are server errors
UNKNOWN_REFUSAL: Final = 400  # for an answer that is not MLflow's own
TOO_MANY: Final = 429
FAULTS: Final = 5  # consecutive 500 responses to one call before the run gives up
SHOWN: Final = 3  # things named in the message about refused calls
NO_JSON: Final = "the response body was not in a valid JSON format"  # MLflow's words
PAGE: Final = "a web page answers in place of the tracking server, such as that of a login or a captive portal"
AWAY: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # a connection that is closed in the middle of an answer
    requests.exceptions.RetryError,
)
HURRY: Final = "2"  # timeout of a call in seconds while the run is being stopped
MISSED: Final = "the run's files are complete; the same command logs what is missing without training again"


class TrackingLostError(RunError):
    """The tracking server was away too long, keeps failing, or refused calls; the rest of the run is complete."""


Lost: TypeAlias = TrackingLostError | None  # why MLflow misses a part of a complete command


def is_away(error: object) -> bool:
    """Whether the server is unavailable for now (no connection, timeout, 5xx, 429), rather than rejecting the call."""
    status = _status(error)
    if status is None:  # a local store may be busy
        return (
            isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE" and not is_full(error)
        )
    return status == 0 or status >= INTERNAL_ERROR or status == TOO_MANY


def is_refused(error: BaseException) -> bool:
    """Whether MLflow rejected a call: an expired token, a deleted experiment, a store that cannot be written to.

    Not a full disk, which ends the run.
    """
    rejected = isinstance(error, MlflowException | OSError)  # the errors of requests are OSErrors
    return rejected and not is_away(error) and not is_full(error)


def error_line(error: BaseException) -> str:
    """HTTP status, if any, and message of an error in at most 160 characters."""
    status, text = _status(error), bare_text(one_line(error))
    if NO_JSON in text:
        return PAGE
    return f"{status}: {text}"[:160] if status else text[:160]


def _status(error: object) -> int | None:
    """HTTP status of the response; 0 if there was none; None if the error is not about the connection."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if isinstance(error, AWAY):
        stated = re.search(r"too many (\d+) error responses", str(error))
        return int(stated[1]) if stated else 0
    if isinstance(error, RestException):
        if (answered := _answered(error)) is not None:
            return answered
        # A gateway's code; one of 5xx ends as a RetryError before.
        code = str(error.json.get("error_code", ""))
        known = code in ErrorCode.keys() or code.isdecimal()  # noqa: SIM118 (an enumeration of protobuf)
        return int(error.get_http_status_code()) if known else UNKNOWN_REFUSAL
    if isinstance(error, MlflowException) and str(error).startswith("API request to"):
        inner = _status(error.__cause__ or error.__context__)
        return int(error.get_http_status_code()) if inner is None else inner
    return None


def _answered(error: RestException) -> int | None:
    """HTTP status of the answer; None if it is not known.

    MLflow derives a status from the code in the body, 500 for the body of a gateway. The answer itself is a variable of
    the function that raises the error.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        response = frame.f_locals.get("response")
        if isinstance(response, requests.Response):
            return int(response.status_code)
    return None


def patience() -> float:
    """`AUGPIPE_TRACKING_PATIENCE` in seconds; UserError if it is not a finite number of 0 or more."""
    return seconds("AUGPIPE_TRACKING_PATIENCE", PATIENCE)


def _retry(task: Any, run: Any, state: Any) -> bool:
    return is_away(state.data)


@task(
    name="wait for the tracking server",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=100_000,
    retry_delay_seconds=PAUSES,
    retry_condition_fn=_retry,
)
def _wait(call: Callable[[], None]) -> None:
    """Retry the call until the server accepts it; the call raises TrackingLostError to give up."""
    call()


class Pending:
    """A queue of idempotent calls, made in order: a call that fails is retried, later ones wait for it.

    A call that the server refuses is left out, and `finish` says so. report: called with a message when the server
    stops answering, when it answers again, and at the first refusal. seconds: CPU time of all calls.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._calls: deque[tuple[str, Callable[[], object]]] = deque()
        self._refused: list[str] = []  # what was not logged
        self._reason = ""  # of the first refusal
        self._patience, self._report = patience(), report
        self.seconds = 0.0
        self._misses = self._faults = 0  # consecutive
        self._ending = False
        self._next, self._until = 0.0, float("inf")

    @property
    def refused(self) -> bool:
        """Whether the server refused a call."""
        return bool(self._refused)

    def add(self, call: Callable[[], object], what: str = "a value") -> None:
        """Make the call after those in the queue, or queue it if the server is unavailable.

        what: what the call logs, for the message if the server refuses it. Raises errors that are not the server's.
        """
        self._calls.append((what, call))
        if time.monotonic() >= self._next:
            try:
                self._flush()
            except Exception as error:
                if not is_away(error):
                    raise

    def finish(self) -> None:
        """Make all queued calls.

        TrackingLostError if the server is unavailable longer than the patience, or refused a call.
        """
        self._ending = True
        self._make_all()
        if self._refused:
            first, more = self._refused[:SHOWN], self._refused[SHOWN:]
            missing = ", ".join(first) + (f" and {len(more)} more" if more else "")
            raise TrackingLostError(f"tracking failed ({self._reason}); not logged: {missing}; {MISSED}")

    def _make_all(self) -> None:
        if self._calls:
            self._until = time.monotonic() + self._patience
            try:
                _wait(self._flush)
            finally:
                self._until = float("inf")

    def result(self, call: Callable[[], T]) -> T:
        """Make the call, wait for the server like `finish`, and return the result; UserError if it is refused."""

        def refused(error: Exception) -> Exception:
            return UserError(f"this run cannot be tracked: {error_line(error)}")

        return self._result(call, refused)

    def last_result(self, call: Callable[[], T], what: str, done: str) -> T:
        """`result` of a command whose work is done; TrackingLostError, which says so, if the call is refused.

        what: what the call logs. done: what is complete.
        """
        self._ending = True

        def refused(error: Exception) -> Exception:
            return TrackingLostError(f"{done}; tracking failed ({error_line(error)}); not logged: {what}; {MISSED}")

        return self._result(call, refused)

    def _result(self, call: Callable[[], T], refused: Callable[[Exception], Exception]) -> T:
        results: list[T] = []

        def attempt() -> None:
            try:
                results.append(call())
            except Exception as error:
                if is_refused(error):
                    raise refused(error) from None
                raise

        self.add(attempt)
        self._make_all()
        return results[-1]

    def _flush(self) -> None:
        while self._calls:
            start = time.thread_time()  # CPU time: wall time would include waiting for busy workers
            what, call = self._calls[0]
            try:
                call()
            except Exception as error:
                if is_away(error):
                    self._missed(error)
                    raise
                self._calls.popleft()  # rejected, and a retry would be too
                if not is_refused(error):
                    raise
                self._refuse(what, error)
                continue
            finally:
                self.seconds += time.thread_time() - start
            self._calls.popleft()
            if self._misses:
                self._report("the tracking server answers again")
            self._misses, self._faults, self._next = 0, 0, 0.0

    def _refuse(self, what: str, error: Exception) -> None:
        if not self._refused:
            self._reason = error_line(error)
            self._report(f"tracking fails ({self._reason}); the run continues")
        self._refused.append(what)

    def _missed(self, error: Exception) -> None:
        line = error_line(error)
        what = line if line == PAGE else f"the tracking server does not answer ({line})"
        if not self._misses:
            self._report(f"{what}; it is tried again later")
        self._next = time.monotonic() + PAUSES[min(self._misses, len(PAUSES) - 1)]
        self._misses += 1
        self._faults = self._faults + 1 if line == PAGE or _status(error) == INTERNAL_ERROR else 0
        lost = ""
        if self._faults >= FAULTS:
            failed = f"the tracking server failed ({INTERNAL_ERROR}) {FAULTS} times at the same call; see its log"
            lost = line if line == PAGE else failed
        elif time.monotonic() >= self._until:
            lost = f"the tracking server did not answer for {self._patience:.0f} s"
        if lost and self._until < float("inf"):
            # In mid-run nothing is complete yet; `finish` is called when it is.
            advice = f"; {MISSED}" if self._ending else ""
            raise TrackingLostError(f"{lost}{advice}") from None


@contextmanager
def hurried() -> Iterator[None]:
    """Use a short timeout for calls in the block and ignore their errors, to stop a run without waiting."""
    with environment_variable("MLFLOW_HTTP_REQUEST_TIMEOUT", HURRY), suppress(Exception):
        yield
