"""Ctrl-C in the first seconds, while libraries are imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import CONFIG, environment


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at /proc")
@pytest.mark.parametrize("library", ["pydantic_core", "libtorch_cpu"])
def test_ctrl_c_while_libraries_are_imported(tmp_path: Path, library: str) -> None:
    """As soon as one is loaded: no traceback, whatever is in the middle of its import."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "augpipe"), "run", "tiny.yaml"], cwd=tmp_path,
        env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    with process:
        until = time.monotonic() + 60
        while library not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and len(output.splitlines()) == 1, output
    assert output.startswith("augpipe: stopped; no file is half-written")
