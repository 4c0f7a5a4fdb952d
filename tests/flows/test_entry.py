"""Ctrl-C and Ctrl-\\ in the first seconds, while libraries are imported."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import CONFIG, ROOT, environment


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at /proc")
@pytest.mark.parametrize(
    ("number", "library"), [(signal.SIGQUIT, "pydantic_core"), (signal.SIGINT, "libtorch_cpu")], ids=["quit", "ctrl-c"]
)
def test_a_signal_while_libraries_are_imported(tmp_path: Path, number: signal.Signals, library: str) -> None:
    """As soon as one is loaded: no traceback, whatever is in the middle of its import."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "augpipe"), "run", "tiny.yaml"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    with process:
        until = time.monotonic() + 60
        while library not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number and len(output.splitlines()) == 1, output
    assert output.startswith("augpipe: stopped; no file is half-written")


def test_a_closed_standard_stream_is_no_number_of_a_file(tmp_path: Path) -> None:
    """Otherwise a database that is opened later would be number 1, and what a library prints would be written to it."""
    script = (
        "import os, sys; from flows.entry import open_standard_streams; open_standard_streams()\n"
        "print(*(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)), file=open('links', 'w'))"
    )
    closed = f"{sys.executable} -c {shlex.quote(script)} <&- >&- 2>&-"
    subprocess.run(["sh", "-c", closed], cwd=tmp_path, env=environment(tmp_path, PYTHONPATH=str(ROOT)), check=True)
    assert (tmp_path / "links").read_text().split() == [os.devnull] * 3


def test_without_docstrings_nothing_is_begun(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-c", "from flows.entry import main; main()"],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.startswith("augpipe: PYTHONOPTIMIZE=2")


def test_names_beyond_ascii_where_the_locale_has_no_such_letters(tmp_path: Path) -> None:
    """They are read and written as they are on disk; the terminal gets escapes."""
    (tmp_path / "Größe").mkdir()
    script = (
        "import os, sys; from flows.entry import use_utf8; use_utf8()\n"
        "print(sys.argv[1]); open(sys.argv[1] + '/names', 'w').write(str(os.listdir()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "Größe"],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=str(ROOT), LC_ALL="POSIX", PYTHONUTF8="0"),
        capture_output=True,
        check=True,
    )
    assert done.stdout == rb"Gr\xf6\xdfe" + b"\n"
    assert (tmp_path / "Größe" / "names").read_text(encoding="utf-8").count("'Größe'") == 1
