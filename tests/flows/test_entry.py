"""Ctrl-C in the first seconds, while libraries are imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import CONFIG, environment


@pytest.mark.parametrize("seconds", [0.8, 1.5, 2.5, 4.0])
def test_ctrl_c_while_libraries_are_imported(tmp_path: Path, seconds: float) -> None:
    """No traceback, whatever is in the middle of its import; and no file."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "augpipe"), "run", "tiny.yaml"], cwd=tmp_path,
        env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    with process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and len(said.splitlines()) == 1, said
    assert said.startswith("augpipe: stopped; no file is half-written")
