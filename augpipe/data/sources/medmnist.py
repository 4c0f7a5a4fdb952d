"""MedMNIST v2 by name, through the package of that name (optional: `augpipe[medmnist]`)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any, Literal

from augpipe.core.errors import UserError, choices, one_line, unknown
from augpipe.core.home import home, make_folder
from augpipe.data.sources import arrays
from augpipe.data.sources._listing import Listing, WholePath
from augpipe.data.sources._source import SourceConfig


class Config(SourceConfig):
    """Options of MedMNIST."""

    kind: Literal["medmnist"]
    """MedMNIST v2 (Yang et al. 2023), through its package."""

    name: str
    """Name of the set, such as `pneumoniamnist`."""

    root: WholePath | None = None
    """Folder of the .npz; nothing is written there. null: downloads/medmnist below AUGPIPE_HOME."""

    size: Literal[28, 64, 128, 224] = 28
    """Image size of the file, in pixels."""

    download: bool = False
    """Download the file if it is missing; only without `root`."""

    official: bool = True
    """Keep the set's own splits. false: merge them, for `split` to draw others."""


def places(config: Config) -> tuple[Path, ...]:
    """The folder, which must never be written to."""
    return () if config.root is None else (config.root,)


def check(config: Config) -> None:
    """UserError if the set is unknown, or is missing and not to be downloaded."""
    _info(config)
    if not config.download and not _path(config).is_file():
        raise _missing(config)


def listing(config: Config) -> Listing:
    """List the set, with class names from the package; UserError if it is missing or not a classification set."""
    info = _info(config)
    path = _file(config, info)
    names = tuple(info["label"][key] for key in sorted(info["label"], key=int))
    return arrays.listing(arrays.Config(kind="arrays", path=path, names=names, official=config.official))


def _info(config: Config) -> dict[str, Any]:
    """The package's description of the set; UserError if it is not one of classification."""
    every = _descriptions()
    info: dict[str, Any] = every.get(config.name, {})
    supported = [name for name, entry in every.items() if _is_classification(entry)]
    if not info:
        raise unknown("MedMNIST set", config.name, supported)
    if not _is_classification(info):
        raise UserError(
            f"{config.name} ({info['task']}, {info['python_class']}) does not have images of one class each; "
            f"choose from {choices(supported)}"
        )
    return info


@cache
def _descriptions() -> dict[str, dict[str, Any]]:
    """The package's descriptions of its sets; read from their file, as the package itself imports torch."""
    package = find_spec("medmnist")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "the source medmnist needs the package medmnist, which is not installed: pip install 'augpipe[medmnist]'"
        )
    file = Path(package.submodule_search_locations[0]) / "info.py"
    descriptions: dict[str, dict[str, Any]] = run_path(str(file))["INFO"]
    return descriptions


def _path(config: Config) -> Path:
    root = config.root or home() / "downloads" / "medmnist"
    return root / f"{config.name}{'' if config.size == 28 else f'_{config.size}'}.npz"


def _missing(config: Config) -> UserError:
    path = _path(config)
    return UserError(f"no {path.name} in {path.parent}; set source.download to download it")


def _is_classification(info: dict[str, Any]) -> bool:
    return info["task"] != "multi-label, binary-class" and not info["python_class"].endswith("3D")


def _file(config: Config, info: dict[str, Any]) -> Path:
    """Path of the set's .npz, downloaded if requested and missing."""
    if config.download and config.root is not None:
        raise UserError(
            "source.root and source.download are mutually exclusive: downloads go to downloads/medmnist below "
            "AUGPIPE_HOME"
        )
    path = _path(config)
    root = path.parent
    if config.download and not path.exists():
        try:
            import medmnist as library

            make_folder(root)
            getattr(library, info["python_class"])(split="train", download=True, root=str(root), size=config.size)
        except Exception as error:  # the package re-raises download errors as other types
            raise UserError(
                f"cannot download {config.name}: {one_line(error)}; without a network, put its "
                ".npz in a folder and set source.root to it"
            ) from None
    if not path.is_file():
        raise _missing(config)
    return path
