"""Check the addresses of servers that a run is to use, before data are read and without importing their libraries.

Only what is certain is refused: a scheme that nothing reads, a port that nothing listens at. All else is checked when
the server is used.
"""

from __future__ import annotations

import os
import socket
import tomllib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from augpipe.core.errors import UserError, unknown

from .engine import bare
from .environment import seconds
from .proxies import check_proxies, check_reached

if TYPE_CHECKING:
    from augpipe.pipeline.runner import Runner

WEB: Final = ("http", "https")
STORES: Final = (*WEB, "sqlite", "postgresql", "mysql", "mssql", "file", "databricks", "databricks-uc", "uc")
PATIENCE: Final = 1.0  # seconds; a server that is slow may still answer later
PATIENCES: Final = ("AUGPIPE_TRACKING_PATIENCE", "AUGPIPE_PREFECT_PATIENCE")
PROFILES: Final = ("ephemeral", "local", "cloud", "test")  # that Prefect has without a file
PORTS: Final = {"http": 80, "https": 443}


def check_addresses(runner: Runner) -> None:
    """UserError if MLFLOW_TRACKING_URI, PREFECT_API_URL or the address of a Dask scheduler cannot be used, Prefect has
    no profile of the name in PREFECT_PROFILE, or the time that a server may be away is not one."""
    check_proxies()
    for name in PATIENCES:
        seconds(name, 0.0)
    _check_profile()
    check_tracking()
    if url := os.environ.get("PREFECT_API_URL"):
        if urlsplit(url).scheme not in WEB:
            raise UserError(
                f"PREFECT_API_URL {bare(url)} must begin with http:// or https://, such as http://127.0.0.1:4200/api"
            )
        _check_port("Prefect server", f"PREFECT_API_URL {bare(url)}", url)
    if runner.kind == "dask":
        if find_spec("prefect_dask") is None:
            raise UserError("runner.kind dask needs prefect-dask: pip install 'augpipe[distributed]'")
        _check_port("Dask scheduler", f"runner.address {runner.address}", str(runner.address))


def check_tracking() -> None:
    """UserError if MLFLOW_TRACKING_URI cannot be used."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    scheme = urlsplit(uri).scheme.partition("+")[0]  # postgresql+psycopg2
    if scheme in WEB:
        _check_port("MLflow server", f"MLFLOW_TRACKING_URI {bare(uri)}", uri)
    elif scheme and scheme not in STORES and scheme not in _plugins():
        raise unknown(f"scheme in MLFLOW_TRACKING_URI {bare(uri)}:", scheme, STORES)


def _check_profile() -> None:
    """UserError for a profile that Prefect does not have: it would use another, perhaps with another server."""
    name = os.environ.get("PREFECT_PROFILE", "")
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        have = tomllib.loads(path.read_text("utf-8")).get("profiles", {})
    except (OSError, ValueError):
        have = {}
    if name and name not in have and name not in PROFILES:
        raise unknown(f"profile in PREFECT_PROFILE (unset it, or write it into {path}):", name, have or PROFILES)


def _plugins() -> set[str]:
    """Schemes that installed packages add to MLflow."""
    return {point.name for point in entry_points(group="mlflow.tracking_store")}


def _check_port(server: str, name: str, url: str) -> None:
    """UserError if nothing listens at the port, or the host is unknown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError as error:
        raise UserError(f"{name} is not an address: {error}") from None
    if not host or port is None:
        raise UserError(f"{name} is not an address: it has no host or no port")
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return  # the proxy reaches what this machine may not
    if not proxy_bypass(host):
        check_reached(parts)
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except ConnectionRefusedError:
        raise UserError(f"no {server} answers at {name}: connection refused") from None
    except socket.gaierror:
        raise UserError(f"no {server} answers at {name}: unknown host {host!r}") from None
    except OSError:
        return  # it may answer later
