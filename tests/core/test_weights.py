"""Where published weights lie, and what is said where they cannot be had;
reading them: test_extractors, test_classifiers.
"""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from augpipe.core.errors import UserError
from augpipe.core.home import weights_folder
from augpipe.core.weights import fetching, published_file, reading


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    return tmp_path


def test_weights_lie_below_home_under_their_publishers_name(own_home: Path) -> None:
    assert published_file("resnet18") == own_home / "weights" / "checkpoints" / "resnet18-f37072fd.pth"


@pytest.mark.parametrize("error", [URLError("no route"), ConnectionResetError("reset"), TimeoutError("late")])
def test_without_a_network_the_line_says_what_to_put_where(error: Exception) -> None:
    before = torch.hub.get_dir()
    with pytest.raises(UserError) as told, fetching("a net", "net.pth", "pretrained: false"):
        assert torch.hub.get_dir() == str(weights_folder().parent)
        raise error
    line = str(told.value)
    assert "net.pth" in line and str(weights_folder()) in line and "or use pretrained: false" in line
    assert "\n" not in line and torch.hub.get_dir() == before


def test_a_folder_that_cannot_be_made_is_said(own_home: Path) -> None:
    (own_home / "weights").write_text("a file")
    with (
        pytest.raises(UserError, match=r"weights/checkpoints cannot be a folder: .*weights is a file"),
        fetching("a net", "x", "y"),
    ):
        pass


def test_what_reads_as_something_else_is_the_files_fault_and_a_bug_of_ours_is_not(own_home: Path) -> None:
    with (
        pytest.raises(UserError, match=r"net\.pth does not hold the weights of a net"),
        reading(own_home / "net.pth", "a net"),
    ):
        raise KeyError("conv1.weight")
    with pytest.raises(ZeroDivisionError), reading(own_home / "net.pth", "a net"):
        raise ZeroDivisionError
