"""Formats of exported models, and whether a file can be written; without importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from augpipe.core.errors import UserError, choices

Format = Literal["torchscript", "torch-export", "onnx"]
SUFFIXES: Final = {"torchscript": ".pt", "torch-export": ".pt2", "onnx": ".onnx"}
ABOUT: Final = "augpipe.json"  # extra file inside, or entry of ONNX's metadata: kind, classes, inputs, outputs
LIBRARIES: Final = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def check_format(form: str, file: Path | None = None, option: str = "--format") -> None:
    """UserError if the file cannot be one of the format, or if that needs a library that is not installed.

    option: of the command, for the message.
    """
    suffix = SUFFIXES[form]
    if file is not None and file.suffix.lower() != suffix:
        raise UserError(f"--out must be a {suffix} file for {form}; got {str(file)!r}")
    if file is not None and file.exists():
        raise UserError(f"{file} exists; choose another --out, or delete it")
    missing = [name for name in LIBRARIES.get(form, ()) if find_spec(name) is None]
    if missing:
        raise UserError(f"{option} {form} needs {choices(missing)}: pip install 'augpipe[{form}]'")
