"""Connections of this process to servers: limits on the whole time of an answer, and an end for those that drip.

The time limit of an HTTP client counts from the last byte: a server that sends one a second never reaches it.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from .progress import repeated

WINDOW: Final = 30.0  # seconds in which an answer that has begun has to bring SLOWEST bytes
SLOWEST: Final = 1000
# Place of the bytes that the other side has confirmed, and of those received, in `struct tcp_info` (linux/tcp.h).
COUNTED: Final = (120, struct.Struct("=QQ"))
T = TypeVar("T")
Peers = set[tuple[Any, ...]]


def within(seconds: float, call: Callable[[], T]) -> T:
    """The call's result, or its error; TimeoutError if it takes longer, and it is left to a thread."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised below
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no whole answer within {seconds:.0f} s")
    return results[0]


def is_http(url: str) -> bool:
    """Whether a URL is that of a server of HTTP."""
    return urlsplit(url).scheme in ("http", "https")


def peers(url: str) -> Peers:
    """Addresses and ports that a URL stands for; none if its host is not known."""
    parts = urlsplit(url)
    try:
        addresses = socket.getaddrinfo(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    except OSError:
        return set()
    return {address[:2] for *_, address in addresses}


def connections(of: Peers) -> Iterator[socket.socket]:
    """This process's connections to these addresses, each as a copy that is closed afterwards."""
    listed = Path("/proc/self/fd")
    for number in [int(p.name) for p in listed.iterdir()] if listed.is_dir() else range(1024):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as connection:
                if connection.getpeername()[:2] in of:
                    yield connection


def shut(of: Peers) -> None:
    """Shut down this process's connections to these addresses: who waits for an answer gets an error."""
    for connection in connections(of):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def drips_cut(url: str, window: float = WINDOW) -> Iterator[None]:
    """While the block runs, shut connections to a server whose answer has begun and brings less than SLOWEST bytes in a
    window, while nothing is sent to it; on Linux. url: of any scheme; nothing is done unless it is of HTTP.
    """
    if not is_http(url) or sys.platform != "linux":
        yield
        return
    known: dict[tuple[Any, ...], tuple[int, int]] = {}
    addresses = peers(url)

    def look() -> None:
        before = dict(known)
        known.clear()
        for connection in connections(addresses):
            with suppress(OSError, struct.error):  # the latter where an older kernel counts less
                name, (sent, received) = connection.getsockname(), _bytes(connection)
                known[name] = sent, received
                if name in before and sent == before[name][0] and 0 < received - before[name][1] < SLOWEST:
                    connection.shutdown(socket.SHUT_RDWR)

    with repeated(look, window):
        yield


def _bytes(connection: socket.socket) -> tuple[int, int]:
    """How many bytes a connection has sent, as far as they have arrived, and how many it has received."""
    start, counters = COUNTED
    length = start + counters.size
    values: tuple[int, int] = counters.unpack(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, length)[start:length]
    )
    return values
