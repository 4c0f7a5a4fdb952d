"""Named sets of MedMNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import noise, source

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_medmnist_by_name(tmp_path: Path) -> None:
    parts = {}
    for side, n in (("train", 10), ("val", 4), ("test", 6)):
        parts[f"{side}_images"] = noise(n, n, 28, 28)
        parts[f"{side}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(tmp_path / "breastmnist.npz", **parts)
    listed = sources.listing(source("medmnist", name="breastmnist", root=tmp_path))
    assert listed.classes == ("malignant", "normal, benign") and len(listed) == 20
    with pytest.raises(UserError, match=r"no breastmnist_64\.npz in .*set source\.download"):
        sources.listing(source("medmnist", name="breastmnist", root=tmp_path, size=64))
    with pytest.raises(UserError, match="unknown MedMNIST set 'brestmnist'"):
        sources.listing(source("medmnist", name="brestmnist", root=tmp_path))
    for name in ("chestmnist", "organmnist3d"):
        with pytest.raises(UserError, match="does not have images of one class each"):
            sources.listing(source("medmnist", name=name, root=tmp_path))
