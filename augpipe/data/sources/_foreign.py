"""How to go on with files of other forms, by their names."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from augpipe.core.yaml_loader import as_yaml
from augpipe.data.sources._settings import setting

LOOKED_AT: Final = 200  # files of a folder
SHOWN: Final = 5
ARCHIVE: Final = re.compile(r".+\.(zip|tar|tgz|tbz2?|txz)", re.IGNORECASE)
AS_ARRAYS: Final = "is not read: save images and labels as arrays, np.savez('x.npz', images=..., labels=...)"
AS_PICTURES: Final = "which is not read: save its {} as pictures, such as PNG, and name the {} of each as its group"
# Columns of a table that hold pixels, such as `pixel0`, `1x1` or `pixels`; the last alone, the others by dozens.
PIXEL: Final = re.compile(r"(px|pixel)?[ _-]*\d+(x\d+)?", re.IGNORECASE)
PIXELS: Final = re.compile(r"pixels|image_array", re.IGNORECASE)
LEAST_PIXELS: Final = 49  # 7 x 7
LABELS: Final = re.compile(r"(.*[_ -])?(labels?|targets?|y)([_ -].*)?", re.IGNORECASE)
# File names → advice; {} is the name.
ADVICE: Final = {
    r".+\.arrow|dataset_info\.json": "{} is Arrow, as `save_to_disk` of Hugging Face writes it, and is not "
    "read: write Parquet, datasets.load_from_disk(...).to_parquet('train.parquet')",
    r"(data|test)_batch(_\d)?": "{} is a part of CIFAR-10: set source: {{kind: torchvision, name: CIFAR10, "
    "root: FOLDER}} in a config",
    r"file\.txt~": "{} is of CIFAR-100: set source: {{kind: torchvision, name: CIFAR100, root: FOLDER}} in a config; "
    "FOLDER holds cifar-100-python",
    r"images_(variant|family|manufacturer)_(train|val|trainval|test)\.txt": "{} is of FGVC-Aircraft: set source: "
    "{{kind: torchvision, name: FGVCAircraft, root: FOLDER}} in a config; FOLDER holds fgvc-aircraft-2013b",
    r"(kmnist|k49)-(train|test)-(imgs|labels)\.npz": "{} has one array: save images and labels in one file, "
    "np.savez('x.npz', images=np.load('...-imgs.npz')['arr_0'], labels=np.load('...-labels.npz')['arr_0'])",
    r"emnist-.+-ubyte(\.gz)?": "{} is of EMNIST: set source: {{kind: torchvision, name: EMNIST, root: FOLDER, "
    "options: {{split: letters}}}} in a config, or the split's name in place of letters; FOLDER holds EMNIST/raw",
    r".+-ubyte(\.gz)?": "{} is in MNIST's form: set source: {{kind: torchvision, name: MNIST, root: FOLDER}} "
    "in a config, or FashionMNIST",
    r"imagelabels\.mat": "{} is of Flowers-102: set source: {{kind: torchvision, name: Flowers102, root: FOLDER}} "
    "in a config; FOLDER holds flowers-102/jpg and the .mat files",
    r"(train|test)_[Xy]\.bin": "{} is of STL-10: set source: {{kind: torchvision, name: STL10, root: FOLDER}} in a "
    "config; FOLDER holds stl10_binary",
    r".+\.(h5|hdf5|mat|tfrecords?|lmdb|mdb|pt|pth|pkl|pickle|npy\.gz|sqlite|db|npy)": f"{{}} {AS_ARRAYS}",
    r".+\.npz": "give {} itself",
    r".+\.(nii(\.gz)?|nrrd|mha|mhd)": f"{{}} is a volume, {AS_PICTURES.format('slices', 'volume or patient')}",
    r".+\.(mp4|avi|mov|mkv|webm)": f"{{}} is a video, {AS_PICTURES.format('frames', 'video')}",
    r".+\.(svs|ndpi|mrxs|czi)": f"{{}} is a whole slide, {AS_PICTURES.format('tiles', 'slide or patient')}",
    r".+\.(rar|7z|gz|bz2|xz|zst)": "unpack {}, and give the folder",
    r".+\.json": "write the labels in {} as a table with a path and a label in each row, such as .csv or .jsonl",
}


def advice(path: Path) -> str:
    """`; ` and how to go on with a file, or with a folder that has no pictures; "" if its names say nothing."""
    if not path.is_dir():
        return _of([path.name])
    return _pair_of_arrays(path) or _of(list(islice(_names(path), LOOKED_AT))) or _archives(path)


def advice_of(names: Iterable[str]) -> str:
    """As `advice`, by the names of an archive's files."""
    return _of(list(islice(names, LOOKED_AT)))


def labels_beside(path: Path) -> str:
    """`; ` and how to go on with a file of arrays beside which one by its name has labels; "" if there is none."""
    words = set(re.split("[_-]", path.stem.lower()))
    beside = [one for one in sorted(path.parent.glob(f"*{path.suffix}")) if one != path and LABELS.fullmatch(one.stem)]
    alike = max(beside, key=lambda one: len(words & set(re.split("[_-]", one.stem.lower()))), default=None)
    return f"; if {alike.name} has the labels, load both and save them so" if alike else ""


def pixels_in(columns: Sequence[str]) -> str:
    """`; ` and how to go on with a table whose columns are pixels,
    as FER2013's and Sign Language MNIST's; "" for others.
    """
    n = sum(PIXEL.fullmatch(name) is not None for name in columns)
    if n < LEAST_PIXELS and not any(map(PIXELS.fullmatch, columns)):
        return ""
    return f"; its columns seem to hold the pixels: such a table {AS_ARRAYS}"


def _names(folder: Path) -> Iterator[str]:
    """File names, in an order independent of the file system."""
    for _, folders, names in os.walk(folder):
        folders.sort()
        yield from sorted(names)


def _pair_of_arrays(folder: Path) -> str:
    """How to give two arrays of a folder, one of which by its name holds the labels of the other; "" for others."""
    arrays = sorted(folder.glob("*.npy"))
    labels = [path for path in arrays if LABELS.fullmatch(path.stem)]
    if len(arrays) != 2 or len(labels) != 1:
        return ""
    (images,) = (path for path in arrays if path not in labels)
    return f"; give {images} with --set {setting('source.labels', str(labels[0]))}"


def _archives(folder: Path) -> str:
    """How to give the archives of a folder; "" if there are none."""
    files = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    archives = sorted(path for path in islice(files, LOOKED_AT) if ARCHIVE.fullmatch(path.name))
    if not archives:
        return ""
    first = shlex.quote(str(archives[0]))
    if len(archives) == 1:
        return f"; {archives[0].name} is an archive: give it (augpipe run {first})"
    every = shlex.quote(f"source.path=[{', '.join(as_yaml(str(path)) for path in archives)}]")
    names = ", ".join([path.name for path in archives[:SHOWN]] + ["..."] * (len(archives) > SHOWN))
    return f"; {names} are archives: give one, or all (augpipe run {first} --set {every})"


def _of(names: Iterable[str]) -> str:
    for pattern, text in ADVICE.items():
        for name in names:
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return f"; {text.format(name)}"
    return ""
