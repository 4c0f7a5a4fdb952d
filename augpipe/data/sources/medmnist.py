"""MedMNIST v2 by name, through the package of that name (optional: `augpipe[medmnist]`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.home import home
from augpipe.core.schema import KindConfig
from augpipe.data.sources import arrays
from augpipe.data.sources._listing import Listing, WholePath


class Config(KindConfig):
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


def place(config: Config) -> Path | None:
    """Where nothing is ever written."""
    return config.root


def listing(config: Config) -> Listing:
    """The set with the package's names of its classes; UserError where it is not there or not of classes."""
    try:
        import medmnist as library
    except ModuleNotFoundError:
        raise UserError(
            "the source medmnist needs the package medmnist, which is not installed: "
            "pip install 'augpipe[medmnist]'"
        ) from None
    told: dict[str, Any] = library.INFO.get(config.name, {})
    flat = [name for name, info in library.INFO.items() if _of_classes(info)]
    if not told:
        raise unknown("MedMNIST set", config.name, flat)
    if not _of_classes(told):
        raise UserError(
            f"{config.name} ({told['task']}, {told['python_class']}) has no picture of one class an image; "
            f"have {choices(flat)}"
        )
    path = _file(config, library, told)
    names = tuple(told["label"][key] for key in sorted(told["label"], key=int))
    return arrays.listing(
        arrays.Config(kind="arrays", path=path, names=names, official=config.official)
    )


def _of_classes(info: dict[str, Any]) -> bool:
    return info["task"] != "multi-label, binary-class" and not info["python_class"].endswith("3D")


def _file(config: Config, library: Any, told: dict[str, Any]) -> Path:
    """Where the set's .npz lies, fetched where that is asked for."""
    if config.download and config.root is not None:
        raise UserError(
            "a download goes to downloads/medmnist below AUGPIPE_HOME; leave out source.root, or "
            "source.download"
        )
    root = config.root or home() / "downloads" / "medmnist"
    path = root / f"{config.name}{'' if config.size == 28 else f'_{config.size}'}.npz"
    if config.download and not path.exists():
        try:
            root.mkdir(parents=True, exist_ok=True)
            getattr(library, told["python_class"])(
                split="train", download=True, root=str(root), size=config.size
            )
        except Exception as error:  # the package wraps whatever its download raises
            raise UserError(
                f"cannot download {config.name}: {' '.join(str(error).split())}; without a network, put its "
                ".npz in a folder and name that in source.root"
            ) from None
    if not path.is_file():
        raise UserError(f"no {path.name} in {root}; source.download fetches it")
    return path
