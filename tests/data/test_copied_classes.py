from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import advised, came, noise, save, tree
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data.copied_classes import LEAST, check_copied_classes
from augpipe.data.inspect import inspect
from augpipe.data.options import Policy


@pytest.mark.parametrize("name", ["everything", "a more", "set/a"])
def test_a_class_whose_pictures_are_all_of_others_is_a_copy(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "pics", "a", "b", "c", n=LEAST)
    for folder in ("a", "b") if name == "everything" else ("a",):
        for path in (root / folder).iterdir():
            save(root / name / f"{folder}{path.name}", np.asarray(Image.open(path)))
    intake = came("folder", tmp_path, path=root)
    with pytest.raises(UserError) as caught:
        check_copied_classes(intake, Policy())
    label = name.split("/")[0]
    assert str(caught.value).startswith(f"every picture of the class {label!r} is also in 'a'")
    check_copied_classes(intake, Policy(duplicates="keep"))
    check_copied_classes(came("folder", tmp_path / "2", path=root, **advised(str(caught.value))), Policy())
    inspection = inspect(intake.listing, ImageOptions())
    assert [problem.severity for problem in inspection.problems][:1] == ["stop"]
    for seed, folder in enumerate((name, "a", "b")):  # one picture that is in no other
        save(root / folder / "other.png", noise(900 + seed))
    check_copied_classes(came("folder", tmp_path / "3", path=root), Policy())
