"""Proxies and certificates of the environment that httpx, Prefect's client, fails at even for servers of this machine.

What cannot be used is left out of the environment: nothing on loopback needs it. Where a server is reached through it,
the run is refused with the reason (`check_reached`).
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from augpipe.core.errors import UserError

PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
SOCKS: Final = "needs the package socksio, and MLflow PySocks: pip install 'httpx[socks]' 'requests[socks]'"
_unusable: dict[str, str] = {}  # variable that was left out of this process's environment → its value


def drop_unusable() -> None:
    """Remove SOCKS proxies without their package, certificates that do not exist, and IPv6 networks of NO_PROXY."""
    for name in _names(PROXIES):
        if os.environ.get(name, "").lower().startswith("socks") and find_spec("socksio") is None:
            _unusable[name] = os.environ.pop(name)
    for name in CERTIFICATES:
        if os.environ.get(name) and not Path(os.environ[name]).exists():
            _unusable[name] = os.environ.pop(name)
    for name in _names(("no_proxy",)):
        hosts = os.environ.get(name, "").split(",")
        usable = [host for host in hosts if not (":" in host and "/" in host and "//" not in host)]
        if usable != hosts:  # `fe80::/10`, which httpx reads as a port
            os.environ[name] = ",".join(usable)


def check_proxies() -> None:
    """UserError for a proxy that is no address:
    no client could be made, even of a server that is not reached through it.
    """
    for name in _names(PROXIES):
        value = os.environ.get(name, "")
        if value and not _is_address(value if "://" in value else f"http://{value}"):
            raise UserError(
                f"{name} {value!r} is not the address of a proxy such as http://proxy.example:3128; correct or unset it"
            )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False


def check_reached(url: SplitResult) -> None:
    """UserError for a proxy or certificates that were left out if the server at `url` needs them."""
    for name, value in _unusable.items():
        if url.scheme == "https" and name in CERTIFICATES:
            raise UserError(f"{name} {value} does not exist; correct or unset it")
        if name.lower() in ("all_proxy", f"{url.scheme}_proxy"):
            raise UserError(f"{name} {value} {SOCKS}; or list {url.hostname} in NO_PROXY, or unset it")


def _names(lower: tuple[str, ...]) -> list[str]:
    return [one for name in lower for one in (name, name.upper())]
