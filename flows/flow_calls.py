"""Call a flow so that its result, or its error, survives the loss of Prefect's server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from httpx import TransportError
from prefect import Flow

from augpipe.core.errors import RunError

from .failures import reason
from .output import report
from .server_watch import how_lost, is_lost
from .signals import received

AWAY: Final = "Prefect's server does not answer; the result is complete, but Prefect does not show it"
UNREACHABLE: Final = "Prefect's server does not answer"
REACHING: Final = ("Failed to reach API", "Runner failed to start", "Service exceeded error threshold")
SETTLE: Final = 1.0  # seconds until the end of a server's process is noticed
P = ParamSpec("P")
R = TypeVar("R")
# Results and errors by a flow's function. Of the process: Prefect calls the function, with the flow's parameters alone.
_ends: dict[str, tuple[Any, BaseException | None]] = {}


def recorded(body: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a flow's function: `call` finds its result although Prefect cannot record the flow's end."""

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = body(*args, **kwargs)
        except BaseException as error:
            _record(body.__qualname__, None, error)
            raise
        _record(body.__qualname__, result, None)
        return result

    return run


def undeployed(body: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a flow's function that is only called, never deployed: its parameters have no types for Prefect.

    Prefect would make a form of the whole configuration, when the flow is defined and again for each run's options: 0.7
    s.
    """
    parameters = inspect.signature(body).parameters.values()
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    body.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    return body


def _record(name: str, result: Any, error: BaseException | None) -> None:
    # A function, as Prefect copies what the flow's own function refers to into its workers.
    _ends[name] = (result, error)


def call(flow: Flow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a flow whose function is `recorded`, and return its result.

    Raises the function's own error. RunError if Prefect's server ended so early that the function could not run.
    """
    name = flow.fn.__qualname__
    _ends.pop(name, None)
    try:
        return flow(*args, **kwargs)
    except BaseException as raised:
        lost = is_lost(SETTLE if unreachable(raised) and received() is None else 0.0)
        if not lost and not unreachable(raised):
            raise
        result, error = _ends.get(name, (None, raised))
        if error is None:
            if not lost:
                report(AWAY)
            return result  # type: ignore[no-any-return]
        if unreachable(error):
            raise RunError(how_lost() if lost else f"{UNREACHABLE}: {reason(error)}") from None
        raise error from None
    finally:
        _ends.pop(name, None)


def unreachable(error: BaseException) -> bool:
    """Whether Prefect's client could not reach the server;
    at first contact, and when polling, it raises a bare RuntimeError.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return isinstance(error, TransportError) or str(error).startswith(REACHING)


@contextmanager
def optional() -> Iterator[None]:
    """What only Prefect's page shows: the block is left if its server does not answer."""
    try:
        yield
    except TransportError:
        if not is_lost():
            report(AWAY)
