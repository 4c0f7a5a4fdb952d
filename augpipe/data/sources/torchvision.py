"""torchvision's classification data sets by name, from local or downloaded files."""

from __future__ import annotations

import gzip
import inspect
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augpipe.core.errors import UserError, cause, choices, one_line, unknown
from augpipe.core.home import home, make_folder
from augpipe.data.sources._listing import Listing, Rows, WholePath, labelled
from augpipe.data.sources._pictures import UNREADABLE, Blob
from augpipe.data.sources._source import SourceConfig

_TRAIN_TEST: Final = {"train": {"split": "train"}, "test": {"split": "test"}}
_FLAG: Final = {"train": {"train": True}, "test": {"train": False}}
_THREE: Final = {**_TRAIN_TEST, "val": {"split": "val"}}
_VALID: Final = {**_TRAIN_TEST, "val": {"split": "valid"}}
_NO_TEST: Final = {"train": {"split": "train"}, "val": {"split": "val"}}
_WHOLE: Final[dict[str, dict[str, Any]]] = {"": {}}
# Data set → its split → constructor arguments; "" for a set without splits.
SETS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST", "USPS"), _FLAG),
    **dict.fromkeys(("CIFAR10", "CIFAR100"), _FLAG),
    **dict.fromkeys(("SVHN", "STL10", "GTSRB", "Food101", "StanfordCars", "LFWPeople"), _TRAIN_TEST),
    **dict.fromkeys(("DTD", "Flowers102", "PCAM", "FGVCAircraft", "RenderedSST2"), _THREE),
    **dict.fromkeys(("CelebA", "Country211"), _VALID),
    **dict.fromkeys(("Imagenette", "CLEVRClassification"), _NO_TEST),
    **dict.fromkeys(("SEMEION", "SUN397", "Caltech101", "Caltech256", "EuroSAT", "FakeData"), _WHOLE),
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "Places365": {"train": {"split": "train-standard"}, "val": {"split": "val"}},
    "FER2013": {"": {"split": "train"}},  # its test has no labels
    "Omniglot": {"": {"background": True}},
}
# Attributes that hold the labels, so that no picture has to be read for them.
_TARGETS: Final = ("targets", "labels", "_labels", "y", "_targets")
_PAIRS: Final = ("_samples", "samples", "_flat_character_images", "imgs")

NO_DOWNLOAD: Final = ("StanfordCars",)  # the address that torchvision knows is gone
GENERATED: Final = ("FakeData",)  # sets without files


class Config(SourceConfig):
    """Options of torchvision's sets."""

    kind: Literal["torchvision"]
    """One of torchvision's classification sets."""

    name: str
    """Name of the set as in torchvision, such as `FashionMNIST`."""

    root: WholePath | None = None
    """Folder of its files as torchvision arranges them, or of the raw files, gzipped or not; nothing is written there.
    null: downloads/torchvision below AUGPIPE_HOME."""

    download: bool = False
    """Download the files if they are missing; only without `root`."""

    target: str | None = None
    """Attribute that is the class (CelebA)."""

    options: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    """Further arguments of the set, such as `{split: letters}` of EMNIST."""

    official: bool = True
    """Keep the set's own splits. false: merge them, for `split` to draw others."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SETS:
            raise unknown("torchvision set", name, sorted(SETS))
        return name

    @field_validator("options")
    @classmethod
    def _not_reserved(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        for key in ("root", "download", "train", "transform", "target_transform", "loader"):
            if key in options:
                raise ValueError(f"the option {key!r} is set by augpipe and cannot be given in source.options")
        return options


def places(config: Config) -> tuple[Path, ...]:
    """The folder, which must never be written to."""
    return () if config.root is None else (config.root,)


def check(config: Config) -> None:
    """UserError if the root does not exist, where nothing is downloaded to it."""
    root = config.root or home() / "downloads" / "torchvision"
    if config.download or config.name in GENERATED or root.is_dir():
        return
    advice = "" if config.root else "; set source.download to download the data set"
    raise UserError(f"the root {root} of {config.name} is not a folder{advice}")


def listing(config: Config) -> Listing:
    """List every image of every split; UserError if its files are missing."""
    if config.download and config.root is not None:
        raise UserError(
            "source.root and source.download are mutually exclusive: downloads go to downloads/torchvision below "
            "AUGPIPE_HOME"
        )
    parts = []
    with tempfile.TemporaryDirectory(prefix="augpipe-raw-") as scratch:
        for split, arguments in SETS[config.name].items():
            data = _open(config, {**arguments, **config.options}, Path(scratch))
            parts.append(_Part(split, data, *_labels(data, config)))
    return _join(parts, config)


@dataclass(frozen=True)
class _Part:
    """One split: the torchvision data set, class name of each row, and groups if it has any."""

    split: str
    data: Any
    names: NDArray[np.object_]
    groups: NDArray[np.object_] | None


def _join(parts: list[_Part], config: Config) -> Listing:
    names = np.concatenate([part.names for part in parts])
    labels, classes = labelled(names, _class_order(parts[0].data, names), config.name)
    starts = np.cumsum([0, *(len(part.names) for part in parts)])

    def fetch(rows: Rows) -> Iterator[Blob]:
        for row in rows:
            at = int(np.searchsorted(starts, row, side="right")) - 1
            try:
                yield parts[at].data[int(row - starts[at])][0]
            except UNREADABLE as error:
                yield ValueError(str(error))

    splits = np.repeat([part.split for part in parts], [len(part.names) for part in parts])
    groups = [part.groups for part in parts if part.groups is not None]
    return Listing(
        ids=[f"{p.split or config.name}/{row:06d}" for p in parts for row in range(len(p.names))],
        labels=labels,
        classes=classes,
        fetch=fetch,
        groups=np.concatenate(groups) if len(groups) == len(parts) else None,
        splits=splits.astype(object) if config.official and parts[0].split else None,
    )


def _open(config: Config, arguments: Mapping[str, Any], scratch: Path) -> Any:
    """Open the torchvision data set; UserError if its files are missing or the download fails."""
    from torchvision import datasets  # 1 s and 200 MB: imported only if used

    dataset = getattr(datasets, config.name)
    parameters = inspect.signature(dataset.__init__).parameters
    for key in config.options:
        if key not in parameters and "kwargs" not in parameters:
            raise unknown(f"option of {config.name}", key, sorted(set(parameters) - {"self", "root"}))
    if "root" not in parameters or config.name in GENERATED:
        return dataset(**arguments)
    root = config.root or home() / "downloads" / "torchvision"
    check(config)
    if config.download:
        return _download(dataset, root, arguments, parameters)
    if _downloadable(config.name, parameters):
        arguments = {**arguments, "download": False}  # SEMEION's default is True
    message, before = "", set(root.iterdir())
    for candidate in (root, *_unpack(root, config.name, scratch)):
        try:
            return dataset(str(candidate), **arguments)
        except Exception as error:  # data sets raise many types for missing or broken files
            message = message or cause(error)
    _remove_empty_folders(set(root.iterdir()) - before)
    raise UserError(f"cannot read {config.name} from {root}: {_with_our_options(message, config, parameters)}")


def _with_our_options(message: str, config: Config, parameters: Mapping[str, Any]) -> str:
    """A message of torchvision with the option of this source in place of its argument `download=True`."""
    fault = " ".join(part for part in re.split(r"(?<=[.,;]) ", message) if "download=True" not in part).rstrip(" .,;")
    if fault == message or not _downloadable(config.name, parameters):
        return message
    first = "remove source.root and " if config.root else ""
    return f"{fault}; {first}set source.download=true to download it"


def _remove_empty_folders(folders: Iterable[Path]) -> None:
    """Remove empty folders that a data set created when it looked for its files."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _downloadable(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether torchvision downloads a data set whose constructor has these parameters."""
    return name not in NO_DOWNLOAD and ("download" in parameters or "kwargs" in parameters)


def _download(dataset: Any, root: Path, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    if not _downloadable(dataset.__name__, parameters):
        raise UserError(
            f"torchvision does not download {dataset.__name__}; download it yourself and set source.root to its folder"
        )
    try:
        make_folder(root)
        return dataset(str(root), download=True, **arguments)
    except (RuntimeError, OSError, ModuleNotFoundError) as error:
        raise UserError(
            f"cannot download {dataset.__name__}: {one_line(error)}; without a network, put its files in a "
            "folder and set source.root to it"
        ) from None


def _unpack(root: Path, name: str, scratch: Path) -> Iterator[Path]:
    """Unpack raw files into the layout torchvision expects, in `scratch`;
    yield that root, or nothing without raw files.
    """
    for raw in (root / name / "raw", root / "raw", root):
        files = [f for f in sorted(raw.iterdir()) if f.is_file()] if raw.is_dir() else []
        if not any(f.suffix == ".gz" or "ubyte" in f.name for f in files):
            continue
        target = scratch / name / "raw"
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            plain = target / (file.name.removesuffix(".gz") if file.suffix == ".gz" else file.name)
            if plain.exists():
                continue
            if file.suffix != ".gz":
                plain.symlink_to(file)
                continue
            try:
                with gzip.open(file) as packed, plain.open("wb") as out:
                    shutil.copyfileobj(packed, out)
            except (OSError, EOFError, zlib.error) as error:
                raise UserError(f"cannot unpack {file}: {one_line(error)}") from None
        yield scratch
        return


def _labels(data: Any, config: Config) -> tuple[NDArray[np.object_], NDArray[np.object_] | None]:
    """Class name of each image, and its group if the set has one (identities of CelebA)."""
    if hasattr(data, "attr_names"):
        return _attribute(data, config)
    if config.target is not None:
        raise UserError(f"{config.name} has no attributes; remove source.target")
    codes = _codes(data)
    names = _class_names(data)
    return np.array([names[c] if names and 0 <= c < len(names) else str(c) for c in codes], object), None


def _codes(data: Any) -> list[int]:
    for attribute in _TARGETS:
        values = getattr(data, attribute, None)
        if values is not None and len(values) == len(data):
            return [int(v) for v in np.asarray(values)]
    for attribute in _PAIRS:
        values = getattr(data, attribute, None)
        if values is not None and len(values) == len(data):
            return [int(pair[1]) for pair in values]
    return [int(data[row][1]) for row in range(len(data))]


def _class_names(data: Any) -> list[str]:
    """Class names in label order; empty if the set has none."""
    for attribute in ("classes", "categories"):
        values = getattr(data, attribute, None)
        if isinstance(values, list | tuple) and all(isinstance(name, str) for name in values):
            return list(values)
    by_name = getattr(data, "class_to_idx", None)
    if isinstance(by_name, dict) and sorted(by_name.values()) == list(range(len(by_name))):
        return [str(name) for name, _ in sorted(by_name.items(), key=lambda item: item[1])]
    return []


def _class_order(data: Any, names: NDArray[np.object_]) -> tuple[str, ...] | None:
    """Classes with images in the set's own order, or by value if numeric; None for default order."""
    have = set(names)
    known = [name for name in _class_names(data) if name in have]
    if len(known) == len(have):
        return tuple(known)
    if all(str(name).isdecimal() for name in have):
        return tuple(sorted((str(name) for name in have), key=int))
    return None


def _attribute(data: Any, config: Config) -> tuple[NDArray[np.object_], NDArray[np.object_] | None]:
    have = [name for name in data.attr_names if name]
    if config.target is None:
        raise UserError(f"{config.name} has attributes, not classes: set source.target; choose from {choices(have)}")
    if config.target not in have:
        raise unknown(f"attribute of {config.name}", config.target, have)
    column = np.asarray(data.attr)[:, have.index(config.target)]
    names = np.where(column > 0, config.target, f"not {config.target}").astype(object)
    known = getattr(data, "identity", None)
    groups = None if known is None else np.asarray(known).reshape(-1).astype(str).astype(object)
    return names, groups
