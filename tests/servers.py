"""Real servers on loopback, as a team runs them: started, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

START_UP = 120.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Server:
    """A process that answers at `health`; it has a session of its own, so that its children go with it."""

    def __init__(self, command: Sequence[str], health: str, log: Path, **env: str) -> None:
        self._command, self._health, self._log, self._env = list(command), health, log, env
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self._env},
            )  # fmt: skip
        until = time.monotonic() + START_UP
        while True:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < until, self._log.read_text()[-3000:]
            try:
                if httpx.get(self._health, timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Mlflow(Server):
    """An MLflow server over a database, artifacts in a folder."""

    def __init__(self, place: Path, backend: str | None = None) -> None:
        place.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1",
            "--port", str(port), "--workers", "1",
            "--backend-store-uri", backend or f"sqlite:///{place / 'mlflow.db'}",
            "--artifacts-destination", str(place / "artifacts"),
        ]  # fmt: skip
        super().__init__(command, f"{self.url}/health", place / "mlflow.log")
