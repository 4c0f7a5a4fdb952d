"""`augpipe doctor`: check the environment."""

from __future__ import annotations

import sys

from augpipe.core.errors import several

from .command_line import Out
from .entry import handle_interrupts
from .output import print_line


def doctor(*, out: Out = None) -> None:
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
        print_line(f"{finding.level:<8} {finding.text}")
    print_line(several(problems, "problem") if problems else "no problem")
    if problems:
        sys.exit(1)
