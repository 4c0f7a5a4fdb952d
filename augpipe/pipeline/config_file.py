"""An experiment that was chosen for images, as a commented config file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from augpipe.core.errors import one_line
from augpipe.core.yaml_loader import as_yaml
from augpipe.pipeline.config_paths import map_paths, to_folder
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.schema_file import schema_comment
from augpipe.pipeline.suggestion import Choice

OPEN: Final = ("generators",)  # mappings with a line for each of their keys, also without a reason


def config_text(experiment: Experiment, choices: Sequence[Choice], file: Path, images: Path) -> str:
    """YAML of what differs from the defaults and of what was chosen, each choice with its reason.

    `load` of it in `file` restores an equal experiment. Paths are relative to the file's folder where possible. images:
    as named by the user.
    """
    values = experiment.model_dump(mode="json", exclude_defaults=True)
    complete = experiment.model_dump(mode="json")
    why, others = dict[str, str](), list[str]()
    for choice in choices:
        reason = " ".join(choice.why.split())
        if _copy(choice.key.split("."), complete, values):
            why[choice.key] = reason
        else:
            others.append(f"# {choice.key} {choice.value}: {reason}")
    map_paths(values, partial(to_folder, file.absolute().parent))
    lines = [
        f"# Experiment of {one_line(images)}: what `augpipe run` would choose for it, with the reasons.",
        f"# Look:  augpipe inspect {file}",
        f"# Run:   augpipe run {file}",
        "# All other keys, with their meaning and defaults: augpipe schema",
    ]
    for key, value in values.items():
        lines += others if key == "arms" else []
        lines += _entry(key, value, why)
    return schema_comment(file.absolute().parent) + "\n".join(lines) + "\n"


def _copy(steps: Sequence[str], source: Any, target: Any) -> bool:
    """Copy the value at these keys, which may be a default, from `source` to `target`; whether there is one."""
    *way, last = steps
    for step in way:
        if not isinstance(source, Mapping) or not isinstance(source.get(step), Mapping):
            return False
        source, target = source[step], target.setdefault(step, {})
    if last not in source:
        return False
    target.setdefault(last, source[last])
    return True


def _entry(key: str, value: Any, why: Mapping[str, str], path: str = "", indent: str = "") -> Iterator[str]:
    """The lines of one key."""
    whole = f"{path}{key}"
    note = f"  # {why[whole]}" if whole in why else ""
    head = f"{indent}{_flow(key)}:"
    reasons_inside = any(other.startswith(f"{whole}.") for other in why)
    if isinstance(value, dict) and value and (reasons_inside or whole in OPEN):
        yield head + note
        for inner, content in value.items():
            yield from _entry(inner, content, why, f"{whole}.", f"{indent}  ")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield head + note
        for item in value:
            yield f"{indent}  - {_flow(item)}"
    else:
        yield f"{head} {_flow(value)}{note}"


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if not isinstance(value, str):
        return str(yaml.safe_dump(value)).split("\n", maxsplit=1)[0]
    if value.isdecimal() or not value.isprintable():
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return as_yaml(value)
