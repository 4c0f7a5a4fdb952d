"""The JSON schema of a config, and the comment by which editors find it: they complete and check keys with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from augpipe.core.files import beside
from augpipe.core.home import home
from augpipe.pipeline.experiment import Experiment

NAME: Final = "schema.json"  # below AUGPIPE_HOME
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"  # that of pydantic


def config_schema() -> dict[str, Any]:
    """The JSON schema of the installed augpipe's configs."""
    return {"$schema": DIALECT, **Experiment.model_json_schema(), "title": "augpipe experiment"}


def schema_comment(folder: Path) -> str:
    """First line of a YAML file in `folder`: where the schema is, which is written below AUGPIPE_HOME.

    A file, so that editors need no network: relative to the folder if one of the two contains the other, else absolute.
    """
    path, folder = home() / NAME, folder.absolute()
    text = json.dumps(config_schema(), indent=2) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with beside(path) as draft:
            draft.write_text(text, encoding="utf-8")
    near = path.is_relative_to(folder) or folder.is_relative_to(path.parent)
    place = Path(os.path.relpath(path, folder)).as_posix() if near else path.as_uri()
    return f"# yaml-language-server: $schema={place}\n"
