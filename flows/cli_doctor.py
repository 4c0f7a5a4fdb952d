"""`augpipe doctor`: check the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from augpipe.core.errors import several

from .entry import handle_interrupts
from .output import Output

console = Output()


def doctor(*, out: Annotated[Path | None, Parameter(name="--out")] = None) -> None:
    """Check what runs need: versions, device, cores, memory, folders, servers and proxies. Exit status 1 for a problem.

    Parameters
    ----------
    out
        Output folder to check (default: runs below AUGPIPE_HOME).
    """
    handle_interrupts()
    from .doctor import examine

    problems = 0
    for finding in examine(out):
        problems += finding.level == "problem"
        _print(f"{finding.level:<8} {finding.text}")
    _print(several(problems, "problem") if problems else "no problem")
    if problems:
        sys.exit(1)


def _print(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
