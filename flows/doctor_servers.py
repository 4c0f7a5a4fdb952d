"""Checks of the databases, servers and proxies that the environment names;
none waits for longer than PATIENCE seconds.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from augpipe.core.errors import one_line
from augpipe.core.home import home

from .databases import UNUSABLE, schema_version
from .engine import bare, bare_text

PATIENCE: Final = 4.0  # seconds for each server
PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}
PROXIES: Final = ("http", "https", "all")
Pairs = Iterator[tuple[Literal["ok", "note", "problem"], str]]


def check_mlflow() -> Pairs:
    """The tracking store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if not uri:
        yield from _check_sqlite(home() / "mlflow.db")
    elif scheme in ("http", "https"):
        given = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
        user, password = (parts.username or given[0], parts.password or given[1])
        key = f"{unquote(user)}:{unquote(password or '')}" if user else ""
        yield from _check_http("MLFLOW_TRACKING_URI", uri, "/health", key)
        yield from _check_way("MLFLOW_TRACKING_URI", uri)
    elif scheme == "sqlite":
        yield from _check_sqlite(Path(uri.partition(":///")[2]))
    elif scheme in PORTS:
        if scheme == "postgresql" and find_spec("psycopg2") is None:
            yield (
                "problem",
                "MLFLOW_TRACKING_URI is PostgreSQL, and psycopg2 is not installed: pip install 'augpipe[servers]'",
            )
        yield _check_port("MLFLOW_TRACKING_URI", uri, scheme)
    else:
        yield "note", f"MLFLOW_TRACKING_URI {bare(uri)} is not checked"


def _check_sqlite(path: Path) -> Pairs:
    version = schema_version(path)
    if version == UNUSABLE:
        yield (
            "problem",
            f"MLflow's database {path} is damaged: move it away, or restore a copy; a run moves it away itself and "
            "begins an empty one",
        )
    elif version is None:
        yield "ok", f"MLflow records to {path}, which the first run creates"
    elif not os.access(path, os.W_OK):
        yield "problem", f"MLflow's database {path} cannot be written to: change its owner or mode"
    else:
        yield "ok", f"MLflow records to {path}"


def check_prefect() -> Pairs:
    """The Prefect server that is configured, or whether one can be started."""
    url, where = _prefect_url()
    if not url:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", 0))
            except OSError as error:
                yield (
                    "problem",
                    f"no port can be opened on 127.0.0.1 ({error.strerror}), as the Prefect server of a run needs: "
                    "allow it, or set PREFECT_API_URL",
                )
                return
        yield "ok", "Prefect: each run starts a server of its own"
        return
    yield from _check_http(where, url, "/health", os.environ.get("PREFECT_API_AUTH_STRING", ""))
    yield from _check_way(where, url)


def _prefect_url() -> tuple[str, str]:
    """The address that is configured, "" if none is, and where: in the environment or in a profile of the user."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url, "PREFECT_API_URL"
    place = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser() / "profiles.toml"
    if not place.is_file():
        return "", ""
    values = tomllib.loads(place.read_text(encoding="utf-8"))
    name = os.environ.get("PREFECT_PROFILE") or values.get("active", "")
    profile = values.get("profiles", {}).get(name, {})
    return str(profile.get("PREFECT_API_URL", "")), f"PREFECT_API_URL of {place}"


def _check_http(name: str, url: str, path: str, key: str) -> Pairs:
    """Whether a server answers; key: USER:PASSWORD, or ""."""
    import httpx

    headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"} if key else {}
    if token := os.environ.get("PREFECT_API_KEY" if "PREFECT" in name else "MLFLOW_TRACKING_TOKEN"):
        headers = {"Authorization": f"Bearer {token}"}
    try:
        status = _within(lambda: httpx.get(bare(url).rstrip("/") + path, timeout=PATIENCE, headers=headers).status_code)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = bare_text(one_line(error))[:200] or type(error).__name__
        yield (
            "problem",
            f"no server answers at {name} {bare(url)} ({reason}): start it, correct the address, or unset it",
        )
        return
    if status in (401, 403):
        yield "problem", f"the server at {name} {bare(url)} refuses the key or password: set the one that it asks for"
    elif status >= 400:
        yield (
            "problem",
            f"the server at {name} {bare(url)} answers {status}: it may be another one; correct the address",
        )
    else:
        yield "ok", f"{name} {bare(url)} answers"


def _check_port(name: str, url: str, scheme: str) -> tuple[Literal["ok", "problem"], str]:
    """Whether a database listens; it is not logged in to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or PORTS[scheme]
        _within(lambda: socket.create_connection((host, port), PATIENCE).close())
    except (OSError, ValueError) as error:
        reason = bare_text(one_line(error))
        return (
            "problem",
            f"nothing listens at {name} {bare(url)} ({reason}): start it, correct the address, or unset it",
        )
    return "ok", f"{name} {bare(url)} listens"


def check_proxies() -> Pairs:
    """Proxies for downloads and servers."""
    proxies = urllib.request.getproxies_environment()
    for kind in PROXIES:
        if url := proxies.get(kind):
            address = url if "://" in url else f"http://{url}"
            level, text = _check_port(f"{kind.upper()}_PROXY", address, "http")
            yield ("note", f"{text}; downloads use it") if level == "ok" else (level, text)


def _check_way(name: str, url: str) -> Pairs:
    """A note if a server is reached through a proxy."""
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        yield (
            "note",
            f"{name} is reached through the proxy {bare(proxy)}; if {host} is in your network, add it to NO_PROXY",
        )


def _within(function: Callable[[], Any]) -> Any:
    """The function's result or error; TimeoutError after PATIENCE seconds, as the look-up of a name has no limit."""
    results: list[Any] = []

    def call() -> None:
        try:
            results.append((function(), None))
        except Exception as error:
            results.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE + 1)
    if not results:
        raise TimeoutError(f"no answer within {PATIENCE:g} s")
    value, error = results[0]
    if error is not None:
        raise error
    return value
