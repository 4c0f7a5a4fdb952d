"""Columns of a table and arrays of a file that are not used: listed, and refused if one looks like groups.

Pictures of one patient on both sides of a split make every figure too good; a column of patients under an unknown name
would be passed over without a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, unknown
from augpipe.data.sources._settings import setting

# Names of groups, by their letters alone: `PATIENT.ID` is `patientid`.
_NUMBER: Final = r"(ids?|no|nr|num|number|uids?|uuids?|identifiers?)"
GROUP_NAMES: Final = re.compile(
    r"(ids?|img|image|(no|nr|num|number)(?!.*s$))?(patient|subject|subj|person|participant|lesion|case|study|studyinstance|series|seriesinstance|scan|slide|specimen"
    rf"|donor|animal|mouse|identity|individual|eye|group|video|clip|burst)s?({_NUMBER}|name|code|key|hash|anon(ymi[sz]ed)?|pseudonym)?"
    r"|(patientunit(stay)?|pat|pt|tumou?r|nodule|biopsy|polyp|samples?|sequence|hadm|stay|visit|encounter|admission|accession|exam"
    rf"|session){_NUMBER}|pid|uid|mrn|wsis?({_NUMBER}|name)?"
    # The same in German, French, Spanish, Portuguese, Italian, Polish, Russian, Chinese, Japanese and Korean.
    r"|(id|num)?(de|du|del|el|la)?(patienten?|paci[eê]nte|paziente|pacjenta?|personne|persona|proband(en)?|sujeto?)s?"
    rf"({_NUMBER}|nummer|name|code|kennung)?"
    r"|(ид|id|номер|код)?(пациент|больн)(а|ы|ов|ой|ого|ых)?(ид|номер|код|id)?"
    r"|(患者|病人|受试者|被験者|환자)(编号|編號|番号|号|번호|id)?"
)
# A name of groups, or of few kinds, as the sequences of a scanner.
PERHAPS_GROUPS: Final = ("sequence", "sequences")
# Words in names of labels: finer or coarser classes repeat as groups do, few images of one class each.
LABEL_WORDS: Final = re.compile(
    r"(sub|super|fine|coarse)?(label|class|classe|target|categor(y|ie))s?(name|id)?s?|fine|coarse|species|genus|breed|diagnos[ie]s"
)
MANY: Final = 12  # different values of such a column that are groups
MISSING: Final = ("", "nan", "none", "null", "None", "NaN", "NA")
DEEPEST: Final = 8  # folders in the paths of a table
FEWEST: Final = 4  # different values of groups: fewer are sides, sexes or devices
LONGEST_GROUP: Final = 256  # characters: a longer text is no name of a group
LEAST: Final = 20  # images below which a pattern of repetition says nothing
REPEATED: Final = (0.05, 0.9)  # different values per image of what may be groups by their pattern
IMPURE: Final = 0.1  # of the share of pairs in different classes that chance would give


def check_unused(
    columns: Mapping[str, Any],
    labels: NDArray[Any],
    *,
    where: str,
    what: str,
    groups: NDArray[Any] | None,
    ignored: Collection[str],
    key: str,
) -> tuple[str, ...]:
    """Notes of unused columns; UserError if there are no groups and some of them look like groups.

    columns: name → values (N,), or None where they cannot be groups. what: column or array. groups: those that are used
    (N,), "" for none. ignored: names that the user declared unused; UserError for one that is not there. key: of the
    setting that declares a name to be the groups.
    """
    for name in ignored:
        if name not in columns:
            raise unknown(f"{what} in source.ignore", name, columns)
    others = [name for name in columns if name not in ignored]
    values = {name: columns[name] for name in others}
    wider: tuple[str, ...] = ()
    if groups is None:
        like = {
            name: number_of(column)
            for name, column in values.items()
            if column is not None and like_groups(name, column, labels)
        }
        refuse(like, where, what, key)
    else:
        around = {
            name: number_of(column)
            for name, column in values.items()
            if column is not None and is_group_name(name) and _around(column, groups)
        }
        wider = _wider(around, where, what, key)
    shown = choices(name or f"a {what} without a name" for name in others)
    return (*((f"not used in {where}: {shown}",) if others else ()), *wider)


def refuse(like: Mapping[str, int], where: str, what: str, key: str) -> None:
    """UserError for names of what looks like groups, with the number of their values: the fewest are the widest groups.

    A study lies within a patient: groups of studies would leave a patient on both sides.
    """
    if not like:
        return
    name = min(like, key=lambda one: (not is_group_name(one), like[one]))
    names, which, them, wide = f"{what} {name!r}", "looks", "it is", ""
    if len(like) > 1:
        names, which, them = f"{what}s {', '.join(map(repr, like))}", "look", "they are"
        wide = ", the widest groups"
    verb = "is" if len(like) == 1 else "are"
    raise UserError(
        f"{where} has the {names}, which {which} like groups, such as patients, and {verb} not used: images of one "
        f"group could be on both sides of a split; set {setting(key, name)}{wide}, or "
        f"{setting('source.ignore', tuple(like))} if {them} something else"
    )


def number_of(values: NDArray[Any]) -> int:
    """Number of different values."""
    return len({str(value) for value in np.asarray(values).tolist()})


def _around(values: NDArray[Any], groups: NDArray[Any]) -> bool:
    """Whether groups (N,) lie within the values (N,), as the lesions of a patient: each in one, and some share one."""
    of_group: dict[str, str] = {}
    for group, value in zip(np.asarray(groups).tolist(), np.asarray(values).tolist(), strict=True):
        if not _is_missing(group) and of_group.setdefault(str(group), str(value)) != str(value):
            return False
    known = [value for value in of_group.values() if not _is_missing(value)]
    return FEWEST <= len(set(known)) < len(known)


def _wider(around: Mapping[str, int], where: str, what: str, key: str) -> tuple[str, ...]:
    """A note of the widest groups around those that are used."""
    if not around:
        return ()
    name = min(around, key=lambda one: around[one])
    return (
        f"the groups of {where} lie within those of the {what} {name!r}, which is not used: images of one of these "
        f"could be on both sides of a split; set {setting(key, name)}, or {setting('source.ignore', (name,))} if it is "
        "something else",
    )


def like_groups(name: str, values: NDArray[Any], labels: NDArray[Any]) -> bool:
    """By its name, if values repeat at all;
    or, unless it is called as labels are, if values repeat as those of groups do: few images each, of one class.
    """
    import pandas as pd  # imported late: the options do not need it

    # As objects or numbers: as text of fixed width, one long value would make every value as long.
    plain = np.asarray(values)
    plain = plain if plain.dtype.kind in "biu" else plain.astype(np.float64 if plain.dtype.kind == "f" else object)
    codes, distinct = pd.factorize(plain)
    missing = np.array([_is_missing(value) for value in distinct], bool)
    codes = np.where(missing[codes], -1, codes) if len(missing) else codes
    distinct = distinct[~missing]
    classes = pd.factorize(np.asarray(labels))[0].astype(np.int64)
    known = codes >= 0
    n = int(known.sum())
    if not FEWEST <= len(distinct) < n or _is_another_label(codes[known], classes[known]):
        return False
    if is_group_name(name) or (letters(name) in PERHAPS_GROUPS and len(distinct) >= MANY):
        return True
    if is_label_name(name) or n < LEAST or not REPEATED[0] <= len(distinct) / n <= REPEATED[1]:
        return False
    chance = _apart(np.zeros(n, np.int64), classes[known])
    return chance > 0 and _apart(codes[known].astype(np.int64), classes[known]) < IMPURE * chance


def folders_at(paths: NDArray[np.object_], number: int) -> NDArray[np.object_]:
    """The folder of that number, from 1, in each path (N,); "" where there is none. The last part is the file."""
    parts = [str(path).strip().strip("/").split("/")[:-1] for path in paths]
    return np.array([one[number - 1] if len(one) >= number else "" for one in parts], object)


def groups_of_folders(paths: NDArray[np.object_], number: int, where: str) -> NDArray[np.object_]:
    """As `folders_at`; UserError if no path has so many folders."""
    groups = folders_at(paths, number)
    if not (groups != "").any():
        first = str(paths[0])
        raise UserError(
            f"source.group_folder is {number}, and no path of {where} has so many folders; the first is {first!r}, "
            f"which has {first.strip('/').count('/')}"
        )
    return groups


def check_folders(paths: NDArray[np.object_], where: str) -> None:
    """UserError if folders in the paths (N,) of a table without groups are called as groups are
    and numbered: `patient7`.
    """
    for number in range(1, DEEPEST + 1):
        folders = folders_at(paths, number)
        distinct = set(folders)
        if "" in distinct:
            return
        kinds = {letters(folder) for folder in distinct}
        if len(kinds) == 1 and FEWEST <= len(distinct) < len(paths) and is_group_name(*kinds):
            raise UserError(
                f"the paths of {where} have folders such as {folders[0]!r}, which look like groups, such as patients, "
                "and are not used: images of one group could be on both sides of a split; set "
                f"source.group_folder={number}, or source.group_folder=0 if they are something else"
            )


def candidate(name: str, column: Any) -> NDArray[np.object_] | None:
    """A column of Arrow as text (N,); None if its values cannot be groups: fractions, long text, several values in a
    cell.

    Dates, lists and bytes are groups only under a name of groups.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from augpipe.data.sources._text import has_fractions, is_list, text_or_none

    kind = column.type
    named = is_group_name(name)
    if not named and (pa.types.is_temporal(kind) or is_list(kind) or "binary" in str(kind)):
        return None
    if has_fractions(column):
        return None
    if not named and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        longest = pc.max(pc.utf8_length(column)).as_py()
        if longest is not None and longest > LONGEST_GROUP:
            return None
    return text_or_none(column)


def is_group_name(name: str) -> bool:
    """Whether a column is called as groups are, whatever its case and signs; of `meta.patient_id` the end counts."""
    return any(GROUP_NAMES.fullmatch(end) for end in ends(name))


def is_label_name(name: str) -> bool:
    """Whether a word of a name is one of labels, as in `labels_fine`, `fineLabel` and `superclass`."""
    words = re.split(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])", name)
    return any(LABEL_WORDS.fullmatch(word.lower()) for word in words)


def ends(name: str) -> list[str]:
    """The letters of a name, and of `meta.patient_id` also those of its end."""
    parts = name.split(".")
    return [letters("".join(parts[i:])) for i in range(len(parts))]


def letters(name: str) -> str:
    """The letters of a name in lower case, without its signs and digits."""
    return re.sub(r"[\W\d_]", "", name.lower())


def _is_missing(value: Any) -> bool:
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)) in MISSING


def _is_another_label(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> bool:
    """Whether each class has a single value, as its name in another language or its parent class."""
    pairs = {(int(c), int(v)) for c, v in zip(classes, codes, strict=True)}
    return len(pairs) == len({c for c, _ in pairs})


def _apart(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Share of pairs of images with one value that are of different classes; 0 without a pair."""
    pairs = _pairs(codes)
    both = codes * (classes.max(initial=0) + 1) + classes
    return 1 - _pairs(both) / pairs if pairs else 0.0


def _pairs(codes: NDArray[np.int64]) -> float:
    counts = np.unique(codes, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1)).sum())
