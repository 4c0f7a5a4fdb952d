"""Samples of a WebDataset shard: the members of a tar with one key, a picture and the files that describe it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import UserError, cause, choices
from augpipe.data.sources._archive_files import BROKEN, Key, Tar, open_archive
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._nested import inner_values, single
from augpipe.data.sources._unused import LONGEST_GROUP, is_group_name

CLS, JSON, TXT = "cls", "json", "txt"
# Extensions of arrays and pickles, which WebDataset's own tools write too.
ARRAYS: Final = frozenset({"npy", "npz", "pt", "pth", "pyd", "pkl", "pickle", "ten", "mp"})
NO_ARRAYS: Final = (
    "arrays in tars are not read: write pictures, such as .png, or save all as one file, "
    "np.savez('x.npz', images=..., labels=...)"
)
LONGEST: Final = 2**20  # bytes of a label's file
LOOKED_AT: Final = 20  # members of a tar by which its kind is recognised
SHOWN: Final = 20  # keys of a .json file in a message


@dataclass
class Sample:
    """The files of one key: pictures, and the content of label files, by extension; `reason` if it cannot be used.

    files: content of files that hold one value each, such as `7.patient`, by extension without `.txt`. others:
    extensions of unused files of the key.
    """

    pictures: dict[str, Key] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    reason: str = ""

    @cached_property
    def described(self) -> tuple[dict[str, Any], str]:
        """Keys and values of the .json file and of `files`, and the reason why it cannot be read ("" if it can)."""
        values, reason = self._json()
        return self.files | values, "" if self.files and JSON not in self.texts else reason

    def _json(self) -> tuple[dict[str, Any], str]:
        """Keys and values of the .json file, and the reason why it cannot be read."""
        if JSON not in self.texts:
            return {}, "a key without a .json file"
        try:
            value = json.loads(self.texts[JSON])
        except RecursionError:
            return {}, "the .json file is nested too deeply"
        except ValueError as error:
            return {}, f"the .json file cannot be read: {cause(error).partition(';')[0]}"
        if not isinstance(value, dict):
            return {}, "the .json file has no keys"
        every = value | inner_values(value)  # `meta.patient_id`
        return {printable(key): one for key, one in every.items()}, ""


def printable(text: str) -> str:
    """Text that can be written as UTF-8; what cannot (lone surrogates) becomes escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def few(keys: Collection[str]) -> str:
    """The first of a .json file's keys, which may be thousands, and how many more there are."""
    first = choices(islice(keys, SHOWN))
    return first if len(keys) <= SHOWN else f"{first} and {len(keys) - SHOWN:,} more"


def split_name(name: str) -> tuple[str, str]:
    """`a/7.left.jpg` → `a/7` and `left.jpg`: the key goes up to the first dot, as in WebDataset."""
    folder, slash, file = name.rpartition("/")
    key, _, extension = file.partition(".")
    return f"{folder}{slash}{key}", extension.lower()


def is_picture(extension: str) -> bool:
    """Whether an extension such as `jpg` or `left.jpg` is a picture's."""
    return f".{extension}".endswith(SUFFIXES)


def are_samples(names: Iterable[str]) -> bool:
    """Whether files of a tar are samples by their names: a picture and a label under one key."""
    return any(have & {CLS, JSON} and any(map(is_picture, have)) for have in _by_key(names).values())


def perhaps_samples(names: Sequence[str]) -> bool:
    """Whether files of a tar are samples in another form:
    arrays with a label, or pictures with a text and no class folders.
    """
    by_key = _by_key(names)
    arrays = any(have & {CLS, JSON, TXT} and have & ARRAYS for have in by_key.values())
    described = any(TXT in have and any(map(is_picture, have)) for have in by_key.values())
    return arrays or (described and len({key.rpartition("/")[0] for key in by_key}) == 1)


def _by_key(names: Iterable[str]) -> dict[str, set[str]]:
    """Extensions of each key's files."""
    extensions: dict[str, set[str]] = {}
    for key, extension in map(split_name, names):
        extensions.setdefault(key, set()).add(extension)
    return extensions


def value_name(extension: str, wanted: Collection[str | None]) -> str:
    """Name of the value that a file of a key holds: `patient` of `7.patient` and `7.patient.txt`; "" if it is read as
    none.

    wanted: names that the user set. Others are read if they are called as groups are.
    """
    name = extension.removesuffix(".txt")
    return name if name in wanted or is_group_name(name) else ""


def read_samples(
    path: Path, ignored: Counter[str], image: str | None = None, wanted: Collection[str | None] = ()
) -> dict[str, Sample]:
    """The samples of one shard by key, without their pictures; UserError if the shard is broken.

    ignored: suffix → number of files that are neither a picture nor `KEY.cls` nor `KEY.json` nor a value; counted here.
    image: an extension that is a picture's, whatever it is. wanted: see `value_name`.
    """
    samples: dict[str, Sample] = {}
    others: dict[str, list[str]] = {}
    try:
        with open_archive(path) as shard:
            if not isinstance(shard, Tar):
                raise UserError(f"{path} is not a tar; use .tar, .tar.gz")
            for name, key, reason in shard.names():
                stem, extension = split_name(name)
                picture = is_picture(extension) or extension == image
                value = "" if picture or extension in (CLS, JSON) else value_name(extension, wanted)
                if not picture and not value and extension not in (CLS, JSON):
                    ignored[_suffix(extension)] += 1
                    if len(others) < LOOKED_AT:
                        others.setdefault(stem, []).append(extension)
                    continue
                _add(samples.setdefault(stem, Sample()), shard, (extension, key, reason), value, image)
    except BROKEN as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read the archive {path}: {cause(error)}") from None
    for stem in others.keys() & samples.keys():
        samples[stem].others = others[stem]
    return samples


def _add(sample: Sample, shard: Tar, entry: tuple[str, Key, str], value: str, image: str | None) -> None:
    """Add a file of a key: a picture, the content of a label's file, or one value. entry: extension, place, reason."""
    extension, key, reason = entry
    if value:
        if not reason and shard.size(key) <= LONGEST_GROUP:
            sample.files[value] = shard.read(key).decode("utf-8", "backslashreplace").strip()
        return
    sample.reason = sample.reason or reason
    picture = is_picture(extension) or extension == image
    if extension in (sample.pictures if picture else sample.texts):
        sample.reason = f"two .{extension} files of one key"
    elif picture:
        sample.pictures[extension] = key
    elif shard.size(key) > LONGEST:
        sample.reason = f"more than {LONGEST:,} bytes in its .{extension} file"
    elif not reason:
        sample.texts[extension] = shard.read(key)


def _suffix(extension: str) -> str:
    """How an ignored file is counted: `.txt`, or `.*.cls` for a label under a longer extension,
    such as `coarse.cls`.
    """
    last = extension.rpartition(".")[2]
    if not last:
        return "no suffix"
    return f".*.{last}" if last in (CLS, JSON) else f".{last}"


def picture_of(sample: Sample, image: str | None) -> tuple[str, str]:
    """Extension of a key's picture and "", or "" and the reason why it has none.

    image: the extension that is wanted; None: the only one without a further dot (`png` beside `mask.png`), else the
    only one.
    """
    have = [f".{extension}" for extension in sample.pictures]
    if image is not None:
        return (image, "") if image in sample.pictures else ("", f"a key without .{image}; it has {few(have)}")
    plain = [extension for extension in sample.pictures if "." not in extension]
    fit = plain or list(sample.pictures)
    if not fit:
        return "", "a key with 0 pictures; it needs one"
    if len(fit) > 1:
        return (
            "",
            f"a key with {len(fit)} pictures, {few(have)}: set source.image={fit[0]}, or another of them (a key ends "
            "at the first dot)",
        )
    return fit[0], ""


def cls_of(sample: Sample) -> tuple[str, str]:
    """Label in the .cls file and "", or "" and the reason why there is none."""
    text = sample.texts.get(CLS)
    if text is None:
        have, hint = sample.described[0], ""
        if have:
            hint = f"; set source.label to a key of its .json: {few(have)}"
        elif sample.others:
            hint = f"; if another file of the key holds the label, set source.label={sample.others[0]}"
            hint += f" (it has {few([f'.{one}' for one in sample.others])})"
        return "", f"a key without a .cls file{hint}"
    try:
        label = text.decode().strip()
    except UnicodeDecodeError:
        return "", "the label is not UTF-8"
    return label, "" if label else "no label"


def value_of(sample: Sample, name: str, several: bool = False) -> tuple[str, str]:
    """Value of a key of the .json file as text ("": no value), and the reason why it cannot be used.

    several: a list of single values is its JSON.
    """
    have, reason = sample.described
    if reason:
        return "", reason
    if name not in have:
        return "", f"no {name!r} in the .json file; it has {few(have)}"
    value = have[name]
    if several and isinstance(value, list) and not any(isinstance(v, list | dict) for v in value):
        value = json.dumps([as_text(one) for one in value], ensure_ascii=False)
    value = single(value)
    if isinstance(value, list | dict):
        return "", f"{name!r} of the .json file is not one value: {json.dumps(value)[:40]}"
    text = as_text(value)
    if printable(text) != text:
        return "", f"{name!r} of the .json file is not valid text: {printable(text)[:40]!r}"
    return text, ""


def as_text(value: str | float | bool | None) -> str:
    """A single value of JSON as text; whole numbers without a decimal point, "" for null and NaN."""
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return ""
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"  # pandas writes integers with a gap so
    return value.strip() if isinstance(value, str) else json.dumps(value)
