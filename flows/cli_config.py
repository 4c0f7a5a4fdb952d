"""`augpipe init` and `augpipe schema`: write a config for images, print the schema of all configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augpipe.core.errors import UserError

from .command_line import Out, Sets
from .entry import handle_interrupts
from .load_config import CONFIGS, choose
from .output import print_json, print_line


def init(images: Path, /, *, set_: Sets = (), out: Out = None) -> None:
    """Write the config that `run` would choose for images, with the reason beside each chosen value.

    Parameters
    ----------
    images
        Images in any form that `run` accepts.
    set_
        Override config values: `--set seeds=5 image.size=32`. Can be repeated.
    out
        New file (default: NAME.yaml in the working directory).
    """
    handle_interrupts()
    if out is not None:
        _check_new(out)

    def file_of(outline: Any) -> Path:
        return out or Path(f"{outline.name}.yaml")

    def check(outline: Any) -> None:
        from augpipe.report.out import check_place

        _check_new(file_of(outline))
        check_place(file_of(outline).absolute(), outline.places, "the config")

    experiment, choices = choose(images, set_, check)
    from augpipe.core.files import beside
    from augpipe.pipeline.config_file import config_text

    file = file_of(experiment)
    text = config_text(experiment, choices, file, images)
    with beside(file) as draft:
        draft.write_text(text, encoding="utf-8")
    print_line(f"config: {file}; augpipe run {file} runs it")


def _check_new(file: Path) -> None:
    """UserError if the file is no YAML file, or exists."""
    if file.suffix.lower() not in CONFIGS:
        raise UserError(f"--out must be a .yaml file; got {str(file)!r}")
    if file.exists() or file.is_symlink():
        raise UserError(f"{file} exists; choose another --out, or delete it")


def schema() -> None:
    """Print the JSON schema of configs, with which editors complete and check keys."""
    from augpipe.pipeline.schema_file import config_schema

    print_json(config_schema())
