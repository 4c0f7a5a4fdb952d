"""`augpipe serve` with no server given: one of its own, with Prefect's page, that starts what falls due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import warm
from httpx import ConnectError
from process_trees import processes_of
from tiny import alone, augpipe

from augpipe.core.errors import RunError
from flows import deployment, server, server_watch

CONFIG = """
name: served
source: {kind: bundled, name: digits}
image: {size: 16, channels: 1}
classifier: {width: 0.25, steps: 20, evaluations: 2}
arms: [{name: real}]
baseline: real
seeds: 1
runner: {workers: 1, threads: 1}
"""


# Prefect looks for runs that fall due every minute, and for runs to start every ten seconds.
SOON = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_server_of_its_own_shows_its_page_and_keeps_the_schedule(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(CONFIG)
    log = tmp_path / "log"
    with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        # Each flow run that it starts is a new process. The sixth field: seconds.
        process = warm.Running(
            tmp_path, ["serve", "served.yaml", "--cron", "* * * * *"], alone(tmp_path, **SOON), (nothing, out, out)
        )
    try:
        until = time.monotonic() + 300
        while "; Prefect at " not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.5)
        address = log.read_text().split("; Prefect at ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")
        key = tmp_path / "data" / "prefect" / f"key-{address.split(':')[2].split('/')[0]}"
        assert str(key) in log.read_text() and key.stat().st_mode & 0o777 == 0o600
        assert (key.parent / "prefect.db").stat().st_mode & 0o777 == 0o600
        who = httpx.BasicAuth(*key.read_text().split(":"))
        _closed(address)
        page = httpx.get(address.removesuffix("/api") + "/", follow_redirects=True)
        assert page.status_code == 200 and "<script" in page.text
        done: list[str] = []
        while "refresh served" not in done:
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(2)
            runs = httpx.post(f"{address}/flow_runs/filter", json={"limit": 200}, auth=who).json()
            assert not [run for run in runs if run["state_name"] in ("Failed", "Crashed")]
            done = [run["name"] for run in runs if run["state_name"] == "Completed"]
        assert (tmp_path / "data" / "runs" / "served" / "report.html").exists()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            status = process.wait(60)
        finally:
            until = time.monotonic() + 20  # a flow that had just begun needs some seconds to end
            while (left := processes_of(tmp_path)) and time.monotonic() < until:
                time.sleep(0.2)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    assert status == 128 + signal.SIGINT, log.read_text()[-3000:]
    assert not left and not key.exists()
    assert "CancelledError" not in log.read_text(), log.read_text()[-3000:]


def _closed(address: str) -> None:
    """Another page in the user's browser, or a name that leads to this machine, is given nothing."""
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {}):
        answer = httpx.post(f"{address}/flow_runs/filter", json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers.get("access-control-allow-origin") is None
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{address}/flow_runs/filter", headers=asked)
    assert answer.headers.get("access-control-allow-origin") is None


def test_a_server_that_cannot_be_started_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "RESTARTS", (0.01, 0.02))
    monkeypatch.setattr(server_watch._server, "away", threading.Event())
    tries: list[subprocess.Popen[bytes]] = []

    def start(stopping: threading.Event) -> subprocess.Popen[bytes]:
        tries.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))
        if tries[-1].wait():
            raise RunError("exited")
        return tries[-1]

    ended = subprocess.Popen(["true"])
    again, stopping = server._Restarts(start), threading.Event()
    assert not again(ended, stopping) and len(tries) == 2
    assert capsys.readouterr().err.count("it is started again") == 1
    assert not again(ended, stopping) and len(tries) == 2
    # One that is being stopped is not started.
    stopping.set()
    assert not server._Restarts(start)(ended, stopping) and len(tries) == 2


def test_a_service_whose_server_is_lost_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch._server, "lost", threading.Event())
    for error in (ConnectError("refused"), RuntimeError("Service exceeded error threshold.")):
        away = pytest.raises(RunError, match="does not answer at http://x/api")
        with away, deployment._one_line("http://x/api", 0):
            raise ExceptionGroup("unhandled errors in a TaskGroup", [error])
    with pytest.raises(KeyError), deployment._one_line("http://x/api", 0):
        raise KeyError
    server_watch.lose()
    given_up = pytest.raises(RunError, match="could not be started again in 5 tries")
    with given_up, deployment._one_line("http://x/api", 0):
        raise RuntimeError("the server is lost")


def test_what_is_no_schedule_is_told(tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(CONFIG)
    done = augpipe(tmp_path, "serve", "served.yaml", "--cron", "at night")
    assert done.status == 2 and "got 'at night'" in done.err and "Traceback" not in done.err
