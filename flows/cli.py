"""The `augpipe` command.

Exit status: 0 success, 1 internal error, 2 user error (one line), 3 balanced set not published as a gate does not hold.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO, cast

from cyclopts import App

import augpipe

from .cli_balance import balance
from .cli_cache import cache
from .cli_compare_runs import compare_runs
from .cli_completion import completion
from .cli_config import init, schema
from .cli_doctor import doctor
from .cli_explore import explore
from .cli_export import export
from .cli_inspect import inspect, list_
from .cli_models import generate, predict
from .cli_quiz import quiz
from .cli_run import run
from .cli_schedule import refresh, serve
from .cli_train import train
from .command_line import split_sets
from .environment import set_environment
from .exits import exit_message
from .output import Lossy, Output, flush_or_discard, print_error
from .signals import handle_termination

app = App(
    name="augpipe",
    help="Test whether synthetic images help on an imbalanced image set: from which generator, how many, how sure.",
    version=augpipe.__version__,
    suppress_keyboard_interrupt=False,  # `main` prints how to continue
)
for command in (
    run,
    train,
    balance,
    inspect,
    refresh,
    serve,
    cache,
    generate,
    predict,
    explore,
    export,
    compare_runs,
    quiz,
    init,
    schema,
    completion,
    doctor,
):
    app.command(command)
app.command(list_, name="list")


def main() -> None:
    """Entry point of the command; errors with an `exit_message` print one line in place of a traceback."""
    set_environment()
    handle_termination()
    if isinstance(sys.stdout, TextIOWrapper):
        # Class names that a terminal's encoding lacks, as standard error has it; not where the stream was exchanged.
        with suppress(OSError):
            sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr = cast(TextIO, Lossy(sys.stderr))
    try:
        app(
            split_sets(sys.argv[1:]),
            console=Output(),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except BaseException as error:
        try:
            message = exit_message(error)
        except (MemoryError, SystemError):  # there is none left to compose a message
            message = 1, "not enough memory"
        if message is None:
            raise
        status, line = message
        print_error(line)
        flush_or_discard()
        gc.freeze()  # at its end Python looks for garbage, which takes a second among all that is imported
        sys.exit(status)


if __name__ == "__main__":
    main()
