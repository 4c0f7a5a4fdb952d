"""`augpipe completion`: scripts with which a shell completes commands, options and files."""

from __future__ import annotations

from typing import Literal

from .output import print_text


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script with which a shell completes commands, options and files.

    bash and zsh: `source <(augpipe completion bash)`; fish: `augpipe completion fish | source`.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from .cli import app  # of which this is a command

    print_text(app.generate_completion(prog_name="augpipe", shell=shell))
