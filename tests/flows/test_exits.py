"""The last line and the status of a command whose streams or memory fail it."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import environment

from flows import cli
from flows.exits import exit_message

AUGPIPE = str(Path(sys.executable).parent / "augpipe")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_is_one_line(error: Exception) -> None:
    ending = exit_message(error)
    assert ending is not None and ending[0] == 1 and ending[1].startswith("not enough memory (")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_a_library_that_waits_for_memory_is_not_loaded(tmp_path: Path) -> None:
    """OpenBLAS would try again for ever, and hear no signal."""

    def limited(kilobytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        limit = kilobytes * 1024
        return subprocess.run(
            [AUGPIPE, *arguments],
            env=environment(tmp_path, OPENBLAS_NUM_THREADS="2"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )

    enough = limited(600_000, "list", "metrics")
    assert enough.returncode == 0 and "macro_recall" in enough.stdout, enough.stderr
    done = limited(300_000, "list", "metrics")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("augpipe: not enough memory (") and "ulimit -v" in done.stderr


def test_an_error_of_ours_keeps_its_traceback() -> None:
    assert exit_message(RuntimeError("x")) is None and exit_message(ImportError("x")) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_streams_that_cannot_be_written_to(tmp_path: Path) -> None:
    given = environment(tmp_path, AUGPIPE_HOME=str(tmp_path / "data"))

    def status(*arguments: str, **streams: int) -> tuple[int, str]:
        wanted = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams}
        done = subprocess.run([AUGPIPE, *arguments], env=given, text=True, timeout=60, check=False, **wanted)
        return done.returncode, done.stderr or ""

    full = os.open("/dev/full", os.O_WRONLY)
    code, line = status("list", "families", stdout=full)
    assert code == 2
    assert line == "augpipe: standard output cannot be written: No space left on device\n"
    # Nobody can read the line; the status says as much as it can.
    assert status("list", "nothing", stderr=full)[0] == 2
    os.close(full)
    reader, writer = os.pipe()
    os.close(reader)
    assert status("--help", stdout=writer) == (128 + signal.SIGPIPE, "")
    os.close(writer)


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    done = subprocess.run(
        [AUGPIPE, "--version"],
        env=environment(tmp_path),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=folder.rmdir,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("augpipe: the working directory no longer exists")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_the_terminal_cannot_show(tmp_path: Path, monkeypatch, encoding: str) -> None:
    """The escape stands for the letter; JSON stays JSON."""
    rng = np.random.default_rng(0)
    for name in ("Äpfel", "日本"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for n in range(12):
            pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{n}.png")
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))

    def output(*more: str) -> str:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        arguments = ["augpipe", "inspect", "pictures", "--out", "out", *more]
        monkeypatch.setattr(sys, "argv", arguments)
        cli.main()
        stream.flush()
        return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]

    monkeypatch.chdir(tmp_path)
    assert "\\u65e5\\u672c" in output()
    facts = str(json.loads(output("--json")))
    assert "Äpfel" in facts and "日本" in facts
