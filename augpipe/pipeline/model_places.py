"""Where models are, and what a model's file says about itself; without importing torch."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.files import damaged_part
from augpipe.core.image_spec import ImageSpec

CLASSIFIER, GENERATOR = "classifier", "generator"
MODELS: Final = "models"  # folder of models in a run's out folder
TRAINED: Final = "checkpoint.pt"  # of `augpipe train`
WEIGHTS: Final = "weights.pt"  # in the folder of a logged model
CONFIG: Final = "experiment.yaml"  # in a run's out folder
SUMMARY: Final = "summary.json"
USES: Final = {CLASSIFIER: "augpipe predict", GENERATOR: "augpipe generate"}


def model_file(place: Path, kind: str, name: str | None = None) -> Path:
    """The file or logged folder of a model: `place` itself, or a model of the run's or training's out folder `place`.

    kind: CLASSIFIER or GENERATOR. name: of a generator, if a run has several; not read for a file, a logged folder or
    the folder of `augpipe train`. UserError if there is no such model; of several generators it lists the names.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise UserError(f"no file or folder {str(place)!r}")
    if (place / WEIGHTS).is_file():
        return place
    if (place / TRAINED).is_file() and kind == "generator":
        return place / TRAINED
    inner = place / MODELS if (place / MODELS).is_dir() else place
    if kind == "classifier" and (inner / "classifier.pt").is_file():
        return inner / "classifier.pt"
    generators = {path.stem.removeprefix("generator-"): path for path in sorted(inner.glob("generator-*.pt"))}
    if kind == "generator" and generators:
        if name is None and len(generators) > 1:
            raise UserError(
                f"{place} has several generators; choose one with --generator: {choices(tuple(generators))}"
            )
        if name is not None and name not in generators:
            raise unknown("generator", name, tuple(generators))
        return generators[name or next(iter(generators))]
    article = "a" if kind == "classifier" else "a trained"
    raise UserError(f"{place} holds no {kind}: give {article} {kind}'s file, or the out folder of a run that has one")


def check_run(folder: Path) -> None:
    """UserError if a folder is no run's, which has the checks of its images."""
    if not (folder / CONFIG).is_file() or not (folder / SUMMARY).is_file():
        raise UserError(f"--checked needs the out folder of a run, whose {CONFIG} names the checks; {folder} has none")


def head_of(place: Path) -> Mapping[str, Any]:
    """The plain values of a model's file, or of a logged model's weights, without its tensors; empty if they cannot be
    read this way.

    For messages that come early: nothing is verified, and whoever reads the model verifies it.
    """
    file = place / WEIGHTS if place.is_dir() else place
    try:
        with ZipFile(file) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            with archive.open(name) as stream:
                head = _Head(stream).load()
    except (OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, pickle.UnpicklingError, BadZipFile):
        return {}
    return head if isinstance(head, dict) else {}


def check_kind(place: Path, head: Mapping[str, Any], kind: str, command: str = "") -> None:
    """UserError if a file is no model, one of the other kind, or damaged; head: of the file, see `head_of`.

    command: that needs the model, for the message; by default that of USES.
    """
    if _kind_of(head) not in ("", kind):
        raise wrong_kind(place, kind, command)
    check_model(place, head)


def check_model(place: Path, head: Mapping[str, Any]) -> None:
    """UserError if a file is no model, or damaged; head: of the file, see `head_of`."""
    if not _kind_of(head):
        raise no_model(place)
    check_whole(place / WEIGHTS if place.is_dir() else place)


def _kind_of(head: Mapping[str, Any]) -> str:
    """The kind of a run's file, or of a checkpoint or logged weights; "" for what is no model."""
    if head.get("augpipe") in USES:
        return str(head["augpipe"])
    return GENERATOR if "config" in head else CLASSIFIER if "shape" in head else ""


def check_whole(file: Path) -> None:
    """UserError if a part of a model's file is not what was written."""
    try:
        damaged = damaged_part(file)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    except (BadZipFile, ValueError, EOFError, RuntimeError):
        raise no_model(file) from None
    if damaged:
        raise UserError(
            f"{file} is damaged: the checksum of its part {damaged} does not hold; copy it again, or repeat the run"
        )


def no_model(place: Path) -> UserError:
    """The error for a file or folder that is no model."""
    return UserError(f"{place} is not a model of augpipe")


def config_of(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a generator by the head of its file; empty if it does not say."""
    checkpoint = head if "config" in head else head.get("state") or {}
    config = checkpoint.get("config", {})
    return config if isinstance(config, dict) else {}


def spec_of(head: Mapping[str, Any]) -> ImageSpec | None:
    """The shape of a generator's images by the head of its file; None if it does not say."""
    checkpoint = head if "config" in head else head.get("state") or {}
    size, channels = checkpoint.get("spec", (None, None))
    return ImageSpec(size, channels) if size and channels else None


def wrong_kind(place: Path, kind: str, command: str = "") -> UserError:
    """The error for a model that is not of this kind; command: as of `check_kind`."""
    other = next(name for name in USES if name != kind)
    return UserError(f"{place} is a {other}; `{command or USES[kind]}` needs a {kind}")


class _Head(pickle.Unpickler):
    """Reads containers, texts and numbers; every other object is None. No code of the file is run."""

    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _nothing

    def persistent_load(self, pid: Any) -> None:
        return None


def _nothing(*_: object) -> None:
    """In place of a tensor."""
