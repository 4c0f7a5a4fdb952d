"""Options of a table of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from augpipe.core.schema import Strict, changed, refuse_changed
from augpipe.data.sources._listing import Attributes, Classes, Encoding, Meanings, Paths, Texts, WholePath
from augpipe.data.sources._source import SourceConfig


class Columns(Strict):
    """Names of the table's columns; group, split and weight are optional."""

    path: str = "path"
    """Path of the picture, relative to `root`: a column (`file_name` where there is no `path`), or a template of
    columns such as `{folder}/{image_id}.jpg`. Folder and suffix may be missing where only one picture below the root
    fits."""

    label: str | Annotated[tuple[str, ...], Field(min_length=2)] = "label"
    """Class: a column, or one column for each class with 1 for its pictures and 0 for the others (one-hot); a
    ticked box (x, yes) is 1, an empty one (or no) 0."""

    group: str = "group"
    """What must not be divided between train, val and test, such as the patient."""

    split: str = "split"
    """train, val or test."""

    weight: str = "weight"
    """How often the image is drawn, relative to the others of its class."""


class TableOptions(SourceConfig):
    """What to read of a table of files, and how."""

    path: WholePath
    """The table; or a Hugging Face image folder whose split folders have one each, `train/metadata.csv`: the paths in
    it are relative to its folder, which is the split."""

    root: Paths | None = None
    """Folder that the paths are relative to, or several such as the parts of a download; each file is in one of them.
    null: the table's own."""

    join: Paths | None = None
    """Another table of the same pictures, or several, whose columns may be used as the table's own: its rows are found
    by the picture's path, or its name without folder and suffix. A column whose name the table has is `TABLE.NAME`;
    that of a list without column names, `TABLE`."""

    columns: Columns = Columns()
    """Names of the table's columns, where they differ from the defaults."""

    attributes: Attributes = ()
    """Columns by whose values the test images are scored too, such as `[sex, scanner]`; of `join`, too."""

    group_folder: int | None = Field(default=None, ge=0)
    """Number of the folder in the paths, from the left, that is the group: 2 for the patient of `train/patient7/1.png`.
    0: none is, although folders are called so. null: none, and folders called so stop the run."""

    classes: Classes = None
    """Use only these labels, in this order. null: all, sorted."""

    ignore: Texts = ()
    """Columns that are left unused although they look like groups or a split."""

    splits: Meanings
    """What values of the split column mean, such as `{0: train, 1: val, 2: test}`."""

    combined: Literal["drop", "class"] | None = None
    """Rows with several labels, in one cell such as `A|B` or in several one-hot columns: `drop` leaves them out,
    `class` reads each combination as a class. null: refuse them."""

    uncertain: Literal["drop", 0, 1] | None = None
    """What -1 in one-hot columns means, as in CheXpert: `drop` leaves such rows out, 0 and 1 read it as this.
    null: refuse them.
    """

    unmarked: Annotated[str, Field(min_length=1)] | None = None
    """What a row without a 1 in one-hot columns means, as NIH's without a finding: `drop` leaves such rows out, another
    text is their class. null: refuse them."""

    encoding: Encoding = None
    """Encoding of a text table, such as `cp1252`. null: UTF-16 if it begins with a byte order mark, else UTF-8."""

    @model_validator(mode="after")
    def _one_hot_options_have_effect(self) -> Self:
        if isinstance(self.columns.label, str):
            refuse_changed(self, ("uncertain", "unmarked"), "with one column of labels")
        elif self.unmarked in self.columns.label:
            raise ValueError(f"unmarked: {self.unmarked} is one of the one-hot columns")
        return self

    @model_validator(mode="after")
    def _one_kind_of_group(self) -> Self:
        if self.group_folder and "group" in changed(self.columns):
            raise ValueError("group_folder and columns.group are mutually exclusive")
        return self

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders that the paths are relative to."""
        return self.root or (self.path if self.path.is_dir() else self.path.parent,)
