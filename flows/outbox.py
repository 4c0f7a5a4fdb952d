"""What is to be tracked, in order: told at once where the server answers, kept and told again where it does not."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from augpipe.core.errors import RunError, UserError, is_full

from .engine import bare_text

T = TypeVar("T")
# Seconds between two tries; the last one for all further ones.
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
PATIENCE: Final = 600.0  # seconds that a run waits for the server at its end
SERVERS_OWN: Final = 500  # HTTP states from here on are of the server's own failures
TOO_MANY: Final = 429
FAULTS: Final = 5  # answers in a row that the server failed, before that is taken for its last word
HURRY: Final = "2"  # seconds that a call may take when the run is being stopped
MARK: Final = "augpipe.entry"  # tag
MISSED: Final = "what it misses of this run is told anew when the run is repeated; the run's own files are whole"


class TrackingLostError(RunError):
    """The tracking server did not come back in time, or fails at what it is told; all else of the run is done."""


def away(error: BaseException) -> bool:
    """Whether an error says that the server is not there now, and not that it refuses what it was asked."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _passing(error.response.status_code)
    if isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError
    ):
        return True
    if not isinstance(error, MlflowException):
        return False
    if _came_by_wire(error):
        inner = error.__cause__ or error.__context__
        return _passing(_state(error)) or (inner is not None and away(inner))
    # A store of our own: busy, but not full.
    return error.error_code == "TEMPORARILY_UNAVAILABLE" and not is_full(error)


def _came_by_wire(error: MlflowException) -> bool:
    # MLflow calls most of its own errors internal ones: only those count that came over the wire.
    return isinstance(error, RestException) or str(error).startswith("API request to")


def _state(error: MlflowException) -> int:
    return int(error.get_http_status_code())


def _passing(state: int) -> bool:
    return state >= SERVERS_OWN or state == TOO_MANY


def _fails(error: BaseException | None) -> bool:
    """Whether the server answered, and failed (500): what may pass, and may as well be its fault for ever."""
    if error is None:
        return False
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code == SERVERS_OWN
    if isinstance(error, requests.exceptions.RetryError):
        return f"too many {SERVERS_OWN} error responses" in str(error)
    if isinstance(error, RestException):
        return _state(error) == SERVERS_OWN
    return _fails(error.__cause__ or error.__context__)


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


@dataclass
class Entry:
    """Something to be told. answers: to those of its calls that have been answered. tries: that failed.

    faults: of the last tries, those in a row at which the server answered, and failed.
    """

    tell: Callable[[], object]
    name: str = field(default_factory=lambda: uuid4().hex)
    answers: list[Any] = field(default_factory=list)
    tries: int = 0
    faults: int = 0


class Client:
    """MLflow's client that knows, of the entry at work, which calls have been answered: they are not made twice.

    What a call creates carries the entry's mark, and is looked for before it is created again: an answer may be lost.
    """

    def __init__(self, real: MlflowClient) -> None:
        self._real = real
        self._entry, self._at = Entry(lambda: None), 0

    def begin(self, entry: Entry) -> None:
        """Go through an entry, from its first call on."""
        self._entry, self._at = entry, 0

    def create_run(self, experiment: str, **named: Any) -> Any:
        """The run that the entry creates here."""

        def there(mark: str) -> list[Any]:
            return list(self._real.search_runs([experiment], mark, max_results=1))

        return self._create(self._real.create_run, there, experiment, **named)

    def create_logged_model(self, experiment: str, name: str, **named: Any) -> Any:
        """The model that the entry creates here."""

        def there(mark: str) -> list[Any]:
            return list(self._real.search_logged_models([experiment], filter_string=mark))

        return self._create(self._real.create_logged_model, there, experiment, name, **named)

    def _create(
        self, make: Callable[..., Any], there: Callable[[str], list[Any]], *given: Any, **named: Any
    ) -> Any:
        mark = f"{self._entry.name}-{self._at}"
        tags = {**(named.pop("tags", None) or {}), MARK: mark}

        def create() -> Any:
            found = there(f"tags.`{MARK}` = '{mark}'") if self._entry.tries else []
            return found[0] if found else make(*given, **named, tags=tags)

        return self._once(create)

    def _once(self, call: Callable[[], Any]) -> Any:
        at, self._at = self._at, self._at + 1
        if at < len(self._entry.answers):
            return self._entry.answers[at]
        answer = call()
        self._entry.answers.append(answer)
        return answer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            return self._once(lambda: getattr(self._real, name)(*given, **named))

        return call


class Outbox:
    """Entries that wait to be told; `client` is what they tell them with."""

    def __init__(self, real: MlflowClient, say: Callable[[str], None]) -> None:
        self._client = Client(real)
        self.client = cast(MlflowClient, self._client)
        self._waiting: deque[Entry] = deque()
        self._patience, self._say = patience(), say
        self._failed, self._again = 0, 0.0

    def put(self, tell: Callable[[], object]) -> None:
        """Tell an entry after all that wait; where the server is away it waits too.

        An entry makes the same calls in the same order each time. What the server refuses is raised.
        """
        self._waiting.append(Entry(tell))
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
            if self._waiting[0].faults >= FAULTS:
                raise TrackingLostError(
                    f"the tracking server answers, and fails ({SERVERS_OWN}) at the same thing {FAULTS} times; its log "
                    f"says why; {MISSED}"
                )
            if time.monotonic() >= until:
                raise TrackingLostError(
                    f"the tracking server did not answer for {self._patience:.0f} s; {MISSED}"
                )
            time.sleep(max(0.0, min(self._again, until) - time.monotonic()))

    def _tell(self) -> bool:
        """Tell what waits, first come first; whether nothing waits any longer."""
        while self._waiting:
            entry = self._waiting[0]
            self._client.begin(entry)
            try:
                entry.tell()
            except Exception as error:
                entry.tries += 1
                if not away(error):
                    self._waiting.popleft()  # refused, and it would be again
                    raise
                entry.faults = entry.faults + 1 if _fails(error) else 0
                self._wait(error)
                return False
            self._waiting.popleft()
            self._back()
        return True

    def _wait(self, error: Exception) -> None:
        if not self._failed:
            told = bare_text(" ".join(str(error).split()))[:160]
            self._say(f"the tracking server does not answer; what it misses is kept ({told})")
        self._again = time.monotonic() + PAUSES[min(self._failed, len(PAUSES) - 1)]
        self._failed += 1

    def _back(self) -> None:
        if self._failed:
            self._say("the tracking server answers again")
        self._failed, self._again = 0, 0.0


def patiently(call: Callable[[], T], say: Callable[[str], None]) -> T:
    """What a call to the server gives, that may be made twice; waits for a server that is away like `Outbox.flush`."""
    limit, tries, faults = patience(), 0, 0
    until = time.monotonic() + limit
    while True:
        try:
            return call()
        except Exception as error:
            if not away(error):
                raise
            faults = faults + 1 if _fails(error) else 0
            if faults >= FAULTS or time.monotonic() >= until:
                told = bare_text(" ".join(str(error).split()))[:300]
                raise TrackingLostError(f"the tracking server is away or fails: {told}") from None
            if not tries:
                told = bare_text(" ".join(str(error).split()))[:160]
                say(f"the tracking server does not answer; waiting for it ({told})")
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1


@contextmanager
def hurried() -> Iterator[None]:
    """Calls in the block give up soon, and what they fail of is nothing: a run that is stopped waits for no server.

    What stopped it is on its way already, and must not be hidden by this.
    """
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
