"""A real headless Chromium that opens a file and tells what it saw: console, requests, sizes, a screenshot."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
WATCHED = ("Page", "Runtime", "Log", "Network")


class Tab:
    """A page under the DevTools protocol; what happened in it is in `events`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        own = next(self._ids)
        self._socket.send(json.dumps({"id": own, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("id") == own:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def wait(self, event: str) -> None:
        """Until an event came; those before it are kept."""
        while not any(e["method"] == event for e in self.events):
            self.events.append(json.loads(self._socket.recv(timeout=60)))

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def of(self, *methods: str) -> list[dict[str, Any]]:
        return [e["params"] for e in self.events if e["method"] in methods]

    def open(self, page: Path, width: int) -> None:
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("Page.loadEventFired")
        self.run("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")

    def screenshot(self, to: Path) -> None:
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def tab(place: Path) -> Iterator[Tab]:
    """A fresh Chromium with its profile in `place`; it ends with the block."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={place}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = place / "DevToolsActivePort"
        until = time.monotonic() + 60
        while not (told.exists() and len(told.read_text().split()) == 2):
            assert browser.poll() is None and time.monotonic() < until, "chromium did not start"
            time.sleep(0.05)
        port = told.read_text().split()[0]
        new = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(new, timeout=30) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        with connect(address, max_size=2**28) as socket:
            found = Tab(socket)
            for domain in WATCHED:
                found.call(f"{domain}.enable")
            yield found
    finally:
        browser.terminate()
        browser.wait(30)
