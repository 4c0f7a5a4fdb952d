"""All pictures in one folder, so that no folder is a class: where their classes may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._foreign import advice
from augpipe.data.sources._labels_beside import TABLES, files_beside
from augpipe.data.sources._place import Beside
from augpipe.data.sources._proposal import read_columns
from augpipe.data.sources._table_file import is_table
from augpipe.data.sources._template import Layout

PROSE: Final = re.compile(r"read[ _-]?me|licen[cs]e|citation|copying|changelog|about", re.IGNORECASE)
ARRAYS: Final = (".mat", ".npy", ".bin", ".pkl", ".h5")
SIGN: Final = re.compile("([_-])")  # between the fields of a file's name
LEAST: Final = 3  # fields of names without a word; two are a group and a number
EACH: Final = 3  # pictures of a folder inside, on average; a patient may have two
MOST: Final = 8  # files that may be lists
SHOWN: Final = 5  # files in a message
MOSTLY: Final = 0.8  # of the names have as many fields


def check_single(folder: str, where: str, hint: str) -> None:
    """UserError if there is a hint of where the classes of pictures are that are all in one folder."""
    if hint:
        raise UserError(f"all pictures of {where} are in the folder {folder!r}, and their classes in no folder{hint}")


def numbered_names_hint(paths: Sequence[str]) -> str:
    """`; ` and a layout of files whose names may have the class in a field between others, as `26_1_0_2017.jpg`;
    "" if they have none.
    """
    names = [path.rpartition("/")[2] for path in paths]
    parts = [re.split(SIGN, name.rpartition(".")[0]) for name in names]  # fields and signs in turn
    if not parts or len(parts[0]) < 2 * LEAST - 1:
        return ""
    alike = {}
    for at in range(0, len(parts[0]), 2):
        values = {one[at] for one in parts if len(one) > at}
        if 1 < len(values) <= len(parts) / 2:  # a class repeats; a number of the picture does not
            alike[at] = len(values)
    if not alike:
        return ""
    label = min(alike, key=lambda at: (alike[at], at))
    before = "".join("*" if at % 2 == 0 else part for at, part in enumerate(parts[0][:label]))
    after = [*parts[0][label + 1 :], "."][0]  # a sign, or the suffix
    layout = f"{'**/' if '/' in paths[0] else ''}{before}{{label-}}{after}*"
    if sum(Layout(layout).match(path) is not None for path in paths) < MOSTLY * len(paths):
        return ""
    return (
        f"; if a part of the files' names is the class, as {names[0]!r} may have, say which, such as "
        f"source.layout={layout!r}"
    )


def inside_hint(ids: Sequence[str], folder: str) -> str:
    """`; ` and a layout of the folders inside of the only one; "" if there are none, or each has few pictures.

    ids: paths of the pictures, all in `folder`, perhaps below train and test.
    """
    if not ids:
        return ""
    below = [path.split("/") for path in ids]
    at = below[0].index(folder)
    inner = sorted({parts[at + 1] for parts in below if len(parts) > at + 2})
    if len(inner) < 2 or EACH * len(inner) > len(ids):
        return ""
    above = "{split}/" if at else ""
    return (
        f"; set source.layout='{above}{folder}/{{label}}/**/*' if the folders inside of it ({choices(inner[:3])}, ...) "
        "are the classes"
    )


def beside_hint(at: Beside, top: str, aside: Collection[str]) -> str:
    """`; ` and how to use a file beside the pictures that may have their classes; "" if there is none.

    Tables that were read and agree with the folder are none. aside: folders without pictures.
    """
    files = [path for path in files_beside(at.root, top, aside) if not PROSE.match(path.name)]
    of_others = [path for path in files if path.suffix.lower() in (".json", ".txt", *ARRAYS)]
    if hint := next(filter(None, map(advice, of_others)), ""):
        return hint
    tables = [path for path in files if path.suffix.lower() in TABLES and not read_columns(path, 1)]
    lists = [*tables, *(path for path in files if path.suffix.lower() in (".txt", ".lst"))]
    if not 0 < len(lists) <= MOST:  # more are of a picture each
        return ""
    readable = [path for path in lists if path in tables or is_table(path)]
    shown = readable or lists
    has = f"{'one of ' if len(shown) > 1 else ''}{choices(map(at.name, shown[:SHOWN]))} has them"
    if not readable:  # such as columns between spaces, whose pictures have no suffix
        return f"; if {has}, write a table with the columns path and label from it"
    give = "unpack the archive and give that file" if at.archive else "give that file in place of the folder"
    return f"; if {has}, {give}"
