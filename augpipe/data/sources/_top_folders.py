"""Top folders that by their names are no classes: splits in other spellings, folds and parts, masks, copies."""

from __future__ import annotations

import glob
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._class_names import end_of_names
from augpipe.data.sources._group_paths import groups_by_name
from augpipe.data.sources._listing import SPLIT_NAMES
from augpipe.data.sources._unclear import UnclearFoldersError

SPLIT_WORD: Final = re.compile(
    r"(|.*[ _.-])(training|train|validation|valid|val|dev|testing|test)(|[ _.-].*|set|data|s)", re.IGNORECASE
)
OF_PICTURES: Final = re.compile(r"[ _-]?(images?|imgs?|pictures|pics|jpe?g|png|set|data|s)", re.IGNORECASE)
# What train is called, also in Portuguese, Spanish, French, Italian, Polish and Chinese.
TRAIN: Final = re.compile(
    r"train(ing)?|treino|treinamento|entrenamiento|entra[iî]nement|apprentissage|addestramento|trening|训练集?",
    re.IGNORECASE,
)
PARTS: Final = re.compile(r"(fold|part|shard|batch|chunk)[ _-]*\d+", re.IGNORECASE)
# What versions of the same pictures are called, as PlantVillage's.
VERSIONS: Final = re.compile(
    r"colou?r|rgb|gr[ae]y(scale)?|segmented|binary|edges?|original|cropped|enhanced|depth|thermal|infrared|n?ir",
    re.IGNORECASE,
)
MASKS: Final = re.compile(r"masks?|seg|segmentations?|annotations?|gt|ground[ _-]?truths?", re.IGNORECASE)
ASIDE: Final = re.compile(
    r"_*(thumb(nail)?s?|previews?|back[ _-]?ups?|bak|copy|copies|aug(mented|mentations?)?|resized)", re.IGNORECASE
)
# By name no classes: pictures without labels, or what programs write.
NO_CLASS: Final = re.compile(
    r"_*(un-?label+ed|no[ _-]?labels?|test(ing)?|test[ _-]?(set|data|images?)|pred(s|ict(ed|ions?))?"
    r"|results?([ _]+files)?|outputs?|logs?|notebooks?|figures?|plots?|checkpoints?|weights|scripts?|te?mp|trash|junk"
    r"|mis+ing|to[ _-]?do|to[ _-]?(sort|check|review|delete)|unsorted|samples?|duplicates?|background[ _-]google"
    r"|(new|untitled)[ _-]folder|grad[ _-]?cams?(pp|[+][+])?|heat[ _-]?maps?|saliency([ _-]?maps?)?"
    r"|(attention|activation|feature)[ _-]?maps?|overlays?|visuali[sz]ations?|explanations?|embeddings?|montages?"
    r"|contact[ _-]?sheets?|screen[ _-]?shots?|wandb|ml[ _-]?runs|runs|(lightning|tensorboard|tb)[ _-]?logs?"
    r"|tensorboard|excluded?|ignored?|do[ _-]?not[ _-]?use|not[ _-]?used|unused|archived?|deleted|discard(ed)?)\d*",
    re.IGNORECASE,
)
MOSTLY: Final = 0.8  # of the masks have the names of pictures
MANY: Final = 5  # numbered folders, as of patients, for each class
FEWEST: Final = 5  # of them: a few small numbers are names in any folder
# Copies of the folder `a`: `a - Copy`, `a (1)`, `a_old`; `copy of a`, `old_a`.
COPY_OF: Final = (
    re.compile(
        r"(?P<of>.+?)([ _-]+(copy|kopie|copie|copia)([ _-]*\(?\d+\)?)?| ?\(\d+\)"
        r"|[ ._-](old|bak|back[ _-]?up|orig(inal)?|aug(mented)?)|~)",
        re.IGNORECASE,
    ),
    re.compile(
        r"((copy|copie|copia|backup)[ _-](of|de)|kopie[ _-]von|copy|old|bak|back[ _-]?up|orig(inal)?|aug(mented)?"
        r"|te?mp)[ ._-]+(?P<of>.+)",
        re.IGNORECASE,
    ),
)


def check_tops(paths: Sequence[str], where: str) -> None:
    """UserError if the top folders of pictures are splits under other names, folds or parts, or pictures beside their
    masks.

    It says which layout or pattern reads them. An explicit layout skips this.
    """
    inner = _folders_inside(paths)
    if not _share_folders(inner.values()):
        _check_masks(paths, inner, where)
    if not all(inner.values()):  # pictures directly in a top folder, as in a class
        _check_flat(inner, where)
        _check_crossed(inner, where)
        return
    if _share_folders(inner.values()) and (
        groups_by_name([n for n, i in inner.items() for _ in i]) or _are_many_numbers(inner)
    ):
        raise UserError(
            f"{where} has the folders {choices(sorted(inner)[:3])}, ..., which look like groups, such as patients, "
            "with the same folders inside: set source.layout='{group}/{label}/**/*' if those are the classes, or "
            f"{as_classes(inner)}"
        )
    _check_splits(inner, where)
    if _share_folders(inner.values()):
        _check_kinds(inner, where)


def check_flat_splits(paths: Sequence[str], where: str) -> None:
    """UserError if only some of the folders train, val and test have class folders, as published tests without labels
    have none.
    """
    inner = _folders_inside(paths)
    if any(inner.values()) and not all(inner.values()):
        _check_flat(inner, where)


def _check_kinds(inner: Mapping[str, set[str]], where: str) -> None:
    """UserError for folders with the same folders inside that by their names are a split, masks, versions or parts."""
    if len(inner) > 1 and any(map(TRAIN.fullmatch, inner)):
        raise UserError(
            f"{where} has the folders {choices(sorted(inner)[:5])} with the same folders inside: rename them to train, "
            "val and test if they are a split, set source.layout='*/{label}/**/*' to merge them, or "
            f"{as_classes(inner)}"
        )
    masks = [name for name in inner if MASKS.fullmatch(name)]
    if masks and len(masks) < len(inner):
        raise UserError(
            f"{where} has the folders {choices(sorted(inner)[:5])} with the same folders inside: leave the masks out "
            f"with {exclude(map(folder_pattern, masks))}, or {as_classes(inner)}"
        )
    if len(inner) > 1 and all(map(VERSIONS.fullmatch, inner)):
        raise UserError(
            f"{where} has the folders {choices(sorted(inner)[:5])} with the same folders inside, which may be versions "
            f"of the same pictures: set 'source.include=[\"{folder_pattern(sorted(inner)[0])}\"]' to read one, or "
            f"{as_classes(inner)}"
        )
    if len(inner) > 1 and all(PARTS.fullmatch(name) for name in inner):
        is_split = all(name.lower() in SPLIT_NAMES for name in set[str]().union(*inner.values()))
        raise UserError(
            f"{where} has the folders {choices(sorted(inner)[:5])} with the same folders inside: set "
            f"source.layout='*/{'{split}/' if is_split else ''}{{label}}/**/*' to merge them, or {as_classes(inner)}"
        )


def _check_masks(paths: Sequence[str], tops: Iterable[str], where: str) -> None:
    """UserError for top folders that are called as masks are, whose files have the names of pictures beside them."""
    masks = [name for name in tops if MASKS.fullmatch(name)]
    stems: dict[bool, set[str]] = {True: set(), False: set()}
    for path in paths if masks else ():
        stems[path.split("/", 1)[0] in masks].add(path.rpartition("/")[2].rpartition(".")[0].lower())
    if masks and len(stems[True] & stems[False]) >= max(FEWEST, MOSTLY * len(stems[True])):
        rest = sorted(set(tops) - set(masks))
        files = [path.rpartition("/")[2] for path in paths if path.split("/", 1)[0] in rest]
        end = end_of_names(files) if len(rest) == 1 else ""
        more = f" --set {shlex.quote(f'source.layout={rest[0]}/**/{end}')}" if end else ""
        raise UnclearFoldersError(
            f"{where} has the folders {choices(sorted(tops)[:5])}, and the files of {choices(masks)} have the names of "
            "the pictures in the others",
            f"leave the masks out with {exclude(map(folder_pattern, masks))}{more}, or set "
            "source.layout='{label}/**/*' if all are classes",
        )


def _folders_inside(paths: Sequence[str]) -> dict[str, set[str]]:
    """Top folders → the names of the folders in them."""
    inner: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
        elif len(parts) == 2:
            inner.setdefault(parts[0], set())
    return inner


def check_copied_names(names: Sequence[str], stem: str, where: str) -> None:
    """UserError for class folders that by their names are copies or previews of other pictures.

    stem: the folders that the layout reads. An explicit layout, or source.classes, skips this.
    """
    copies = [name for name in names if _is_copy(name, names)]
    if copies:
        raise UserError(
            f"{where} has the class folders {choices(map(repr, copies[:5]))}, which by their names are copies of other "
            f"pictures: leave them out with {exclude(map(folder_pattern, copies))}, or set "
            f"source.layout='{stem}**/*' if they are classes"
        )


def notes_of_classes(names: Sequence[str]) -> tuple[str, ...]:
    """A note of class folders that by their names are no classes."""
    others = [name for name in names if not _is_copy(name, names) and NO_CLASS.fullmatch(name)]
    if not others:
        return ()
    return (
        f"{choices(map(repr, others[:5]))} by name no class, and read as one: leave such out with "
        f"{exclude(map(folder_pattern, others))}",
    )


def _is_copy(name: str, names: Sequence[str]) -> bool:
    lower = {one.lower() for one in names}
    matches = (pattern.fullmatch(name) for pattern in COPY_OF)
    return ASIDE.fullmatch(name) is not None or any(m is not None and m["of"].strip().lower() in lower for m in matches)


def notes_of_copies(inner: Iterable[str]) -> tuple[str, ...]:
    """A note of the sub-folders of classes that by their names are copies or previews of the pictures beside them."""
    aside = sorted({name for name in inner if ASIDE.fullmatch(name)})
    if not aside:
        return ()
    return (
        f"the sub-folders {choices(map(repr, aside[:5]))} of the classes are by name copies of other pictures, and "
        f"read as pictures of the class: leave such out with {exclude(f'*/{glob.escape(name)}/*' for name in aside)}",
    )


def exclude(patterns: Iterable[str]) -> str:
    """The option that leaves out pictures, as the command line takes it."""
    return patterns_option("exclude", patterns)


def patterns_option(name: str, patterns: Iterable[str]) -> str:
    """`--set 'source.include=["*/40X/*"]'`, as the command line takes it."""
    return f"--set {shlex.quote(f'source.{name}={json.dumps(list(patterns), ensure_ascii=False)}')}"


def folder_pattern(name: str) -> str:
    """Pattern of all pictures in folders of a name, also below folders around all classes."""
    return f"*{glob.escape(name)}/*"


def _check_flat(inner: Mapping[str, set[str]], where: str) -> None:
    """UserError for folders of pictures beside those of a split, such as Test_images/ beside Train/cat/:
    they have no class.
    """
    nested, flat = ([name for name in inner if bool(inner[name]) == has] for has in (True, False))
    words = {name: match for name in inner if (match := SPLIT_WORD.fullmatch(name))}
    train = any(SPLIT_NAMES[words[name][2].lower()] == "train" for name in nested if name in words)
    is_split = len(words.keys() & nested) > 1 or words.keys() >= set(flat)
    if train and is_split:
        raise UserError(
            f"{where} has the folders {choices(sorted(nested)[:5])} with folders inside, and "
            f"{choices(sorted(flat)[:5])} with pictures that are in none: leave these out with "
            f"{exclude(map(folder_pattern, flat))}, or {as_classes(inner)}"
        )


def _check_crossed(inner: Mapping[str, set[str]], where: str) -> None:
    """UserError for folders of pictures that are classes of a split, covid_train and covid_test."""
    matches = {name: SPLIT_WORD.fullmatch(name) for name in inner}
    words = {name: match for name, match in matches.items() if match is not None}
    kinds = {(match[1], match[3]) for match in words.values()}
    splits = {SPLIT_NAMES[match[2].lower()] for match in words.values()}
    crossed = len(words) == len(inner) == len(kinds) * len({m[2] for m in words.values()})
    before, after = ([kind[side] for kind in kinds] for side in (0, 1))
    if not crossed or len(kinds) < 2 or not splits > {"train"} or (any(before) and any(after)):
        return
    sign = (before[0][-1] if any(before) else after[0][0]) if all(before) or all(after) else ""
    template = f"{{label+}}{sign}{{split}}" if any(before) else f"{{split}}{sign}{{label+}}"
    raise UserError(
        f"{where} has the folders {choices(sorted(inner)[:5])}: set source.layout='{template}/**/*' if they are "
        f"classes of a split, or {as_classes(inner)}"
    )


def _check_splits(inner: Mapping[str, set[str]], where: str) -> None:
    """UserError for folders such as train_set and test_set."""
    matches = {name: SPLIT_WORD.fullmatch(name) for name in inner}
    words = {name: match for name, match in matches.items() if match is not None}
    if len({SPLIT_NAMES[match[2].lower()] for match in words.values()}) < 2 or not any(
        SPLIT_NAMES[match[2].lower()] == "train" for match in words.values()
    ):
        return
    around = {(match[1], match[3]) for match in words.values()}
    advice = "rename those that are a split to train, val and test"
    if len(around) == 1 and len(words) == len(inner):
        before, after = around.pop()
        again = all(folders == {name} for name, folders in inner.items())
        template = f"{before}{{split}}{after}/{'*/' if again else ''}{{label}}/**/*"
        advice = f"set source.layout='{template}' if they are a split"
    raise UserError(f"{where} has the folders {choices(sorted(inner)[:5])}: {advice}, or {as_classes(inner)}")


def _are_many_numbers(inner: Mapping[str, set[str]]) -> bool:
    """Whether the folders are numbers, many more than the classes inside of all of them."""
    within = set[str]().union(*inner.values())
    no_classes = any(name.lower() in SPLIT_NAMES or MASKS.fullmatch(name) or ASIDE.fullmatch(name) for name in within)
    many = len(inner) >= MANY * len(within) > MANY
    return many and not no_classes and all(name.isdecimal() for name in inner)


def as_classes(tops: Iterable[str]) -> str:
    """The setting that reads top folders as the classes."""
    return f"source.layout='{{label}}/**/*' if {choices(sorted(tops)[:5])} are the classes"


def _share_folders(inner: Iterable[set[str]]) -> bool:
    """Whether a sub-folder's name is in two of the folders."""
    counts = Counter(name for folders in inner for name in folders)
    return any(n > 1 for n in counts.values())
