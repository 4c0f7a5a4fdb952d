"""AUGPIPE_HOME: made for its user alone by whoever writes first, as is what is made in it;
a folder that exists stays as it is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from augpipe.core.errors import UserError
from augpipe.core.files import beside, write_json
from augpipe.core.home import home, make_folder
from augpipe.core.store import Store


def test_the_first_that_writes_makes_it_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "new"))
    Store().put("values", partial(write_json, value={"a": 1}), ".json")
    assert home().stat().st_mode & 0o777 == 0o700
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    monkeypatch.setenv("AUGPIPE_HOME", str(shared))
    Store().put("values", partial(write_json, value={"a": 1}), ".json")
    assert shared.stat().st_mode & 0o777 == 0o775
    assert (shared / "store").stat().st_mode & 0o777 == 0o700
    (shared / "runs").mkdir(mode=0o755)
    (shared / "runs").chmod(0o755)
    (tmp_path / "link").symlink_to(shared)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "link"))
    with beside(home() / "runs" / "a" / "b") as draft:
        draft.touch()
    with beside(home() / "trained" / "a") as draft:
        draft.touch()
    modes = [(shared / name).stat().st_mode & 0o777 for name in ("runs", "trained")]
    assert modes == [0o755, 0o700]


def test_a_file_in_place_of_a_folder_of_the_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    (tmp_path / "store").write_text("x")
    for folder in ("store", "store/running"):
        with pytest.raises(UserError, match=r"store is a file; move it away"):
            make_folder(tmp_path / folder)
