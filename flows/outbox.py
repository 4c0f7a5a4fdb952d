"""What is to be tracked, in order: told at once where the server answers, kept and told again where it does not."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from augpipe.errors import RunError, UserError, is_full

T = TypeVar("T")
PAUSES: Final = (
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
)  # seconds between two tries; the last one for all further ones
PATIENCE: Final = 600.0  # seconds that a run waits for the server at its end
SERVERS_OWN: Final = 500  # HTTP states from here on are of the server's own failures
TOO_MANY: Final = 429


class TrackingLostError(RunError):
    """The tracking server did not come back in time; all else of the run is done."""


def away(error: BaseException) -> bool:
    """Whether an error says that the server is not there now, and not that it refuses what it was asked."""
    if is_full(error):
        return False
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _passing(error.response.status_code)
    if isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError
    ):
        return True
    if not isinstance(error, MlflowException):
        return False
    # MLflow calls most of its own errors internal ones: only those count that came over the wire, or a busy store's.
    wire = isinstance(error, RestException) or str(error).startswith("API request to")
    if wire and _passing(_state(error)):
        return True
    inner = error.__cause__ or error.__context__
    return error.error_code == "TEMPORARILY_UNAVAILABLE" or (inner is not None and away(inner))


def _state(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def _passing(state: int) -> bool:
    return state >= SERVERS_OWN or state == TOO_MANY


def patience() -> float:
    """`AUGPIPE_TRACKING_PATIENCE` in seconds; UserError for what is no number of them."""
    given = os.environ.get("AUGPIPE_TRACKING_PATIENCE", str(PATIENCE))
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UserError(f"AUGPIPE_TRACKING_PATIENCE must be seconds, 0 or more; got {given!r}")
    return found


class Client:
    """MLflow's client that knows, of the entry at work, which calls have been answered: they are not made twice."""

    def __init__(self, real: MlflowClient) -> None:
        self._real = real
        self._answers: list[Any] = []
        self._at = 0

    def begin(self, answers: list[Any]) -> None:
        """Go through an entry, from its first call on; answers: to those that an earlier try has made."""
        self._answers, self._at = answers, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            at, self._at = self._at, self._at + 1
            if at < len(self._answers):
                return self._answers[at]
            answer = getattr(self._real, name)(*given, **named)
            self._answers.append(answer)
            return answer

        return call


class Outbox:
    """Entries that wait to be told; `client` is what they tell them with."""

    def __init__(self, real: MlflowClient, say: Callable[[str], None]) -> None:
        self._client = Client(real)
        self.client = cast(MlflowClient, self._client)
        self._waiting: deque[tuple[Callable[[], object], list[Any]]] = deque()
        self._patience, self._say = patience(), say
        self._failed, self._again = 0, 0.0

    def put(self, entry: Callable[[], object]) -> None:
        """Tell an entry after all that wait; where the server is away it waits too.

        An entry makes the same calls in the same order each time. What the server refuses is raised.
        """
        self._waiting.append((entry, []))
        if time.monotonic() >= self._again:
            self._tell()

    def now(self, entry: Callable[[], T]) -> T:
        """Tell an entry and what waits before it; returns what it gives. Waits for the server as `flush` does."""
        given: list[T] = []
        self.put(lambda: given.append(entry()))
        self.flush()
        return given[-1]

    def flush(self) -> None:
        """Tell all that waits; TrackingLostError where the server stays away for longer than the patience."""
        until = time.monotonic() + self._patience
        while self._waiting and not self._tell():
            if time.monotonic() >= until:
                raise TrackingLostError(
                    f"the tracking server did not answer for {self._patience:.0f} s; "
                    f"what it misses of this run is told anew when the run is repeated; the run's own files are whole"
                )
            time.sleep(max(0.0, min(self._again, until) - time.monotonic()))

    def _tell(self) -> bool:
        """Tell what waits, first come first; whether nothing waits any longer."""
        while self._waiting:
            entry, answers = self._waiting[0]
            self._client.begin(answers)
            try:
                entry()
            except Exception as error:
                if not away(error):
                    self._waiting.popleft()  # refused, and it would be again
                    raise
                self._wait(error)
                return False
            self._waiting.popleft()
            self._back()
        return True

    def _wait(self, error: Exception) -> None:
        if not self._failed:
            told = " ".join(str(error).split())
            self._say(f"the tracking server does not answer; what it misses is kept ({told[:160]})")
        self._again = time.monotonic() + PAUSES[min(self._failed, len(PAUSES) - 1)]
        self._failed += 1

    def _back(self) -> None:
        if self._failed:
            self._say("the tracking server answers again")
        self._failed, self._again = 0, 0.0
