"""Proxies of the environment that httpx cannot use."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import httpx
import pytest

from augpipe.core.errors import UserError
from flows import proxies
from flows.environment import set_environment
from flows.proxies import check_reached


def test_what_httpx_fails_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client, which Prefect makes for a server on loopback too, is built with what the environment says."""
    given = {
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "all_proxy": "socks5h://127.0.0.1:9",
        "SSL_CERT_FILE": "/no/such.pem",
        "NO_PROXY": "::1,fe80::/10,10.0.0.0/8,.corp",
        "http_proxy": "http://127.0.0.1:9",
    }
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ) | given)
        patch.setattr(proxies, "_unusable", {})
        set_environment()
        environment_of_httpx = dict(os.environ)
        hosts = set(os.environ["NO_PROXY"].split(","))
        assert hosts == {"::1", "10.0.0.0/8", ".corp", "127.0.0.1", "localhost"}
        with pytest.raises(UserError, match=r"(?i)all_proxy socks5.*httpx\[socks\].*list mlflow\.example"):
            check_reached(urlsplit("http://mlflow.example:5000"))
        with pytest.raises(UserError, match=r"SSL_CERT_FILE /no/such\.pem does not exist; correct"):
            proxies._unusable.pop("ALL_PROXY")
            proxies._unusable.pop("all_proxy")
            check_reached(urlsplit("https://mlflow.example:5000"))
        check_reached(urlsplit("http://mlflow.example:5000"))
    for name in given:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment_of_httpx.items():
        monkeypatch.setenv(name, value)
    httpx.Client().close()
