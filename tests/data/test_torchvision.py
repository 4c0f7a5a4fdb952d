"""Named sets of torchvision."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import came, noise, save, source, untouched

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.data.sources import torchvision


def test_every_named_set_is_torchvisions() -> None:
    import inspect

    from torchvision import datasets

    for name, splits in torchvision.SETS.items():
        takes = inspect.signature(getattr(datasets, name).__init__).parameters
        for arguments in splits.values():
            assert set(arguments) <= set(takes) or "kwargs" in takes, name


def idx(values: np.ndarray) -> bytes:
    dims = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + dims + values.astype(np.uint8).tobytes()


def raw_mnist(root: Path, name: str, packed: bool, prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
    root.mkdir(parents=True, exist_ok=True)
    images, labels = noise(3, 30, 28, 28), np.arange(30) % 10
    for part, rows in (("train", slice(0, 20)), ("t10k" if not prefix else "test", slice(20, 30))):
        for what, values in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            data = idx(values)
            path = root / f"{prefix}{part}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return images, labels


@pytest.mark.parametrize("inner", ["KMNIST/raw", "raw", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_raw_files_gzipped_or_not(tmp_path: Path, inner: str, packed: bool) -> None:
    images, labels = raw_mnist(tmp_path / "root" / inner, "KMNIST", packed)
    before = untouched(tmp_path / "root")
    taken = came("torchvision", tmp_path, name="KMNIST", root=tmp_path / "root")
    assert np.array_equal(taken.images[:, 0], images)
    assert taken.splits.tolist() == ["train"] * 20 + ["test"] * 10
    assert taken.listing.classes[:3] == ("o", "ki", "su")
    assert np.array_equal(taken.labels, labels)
    assert untouched(tmp_path / "root") == before


def test_a_set_with_an_option(tmp_path: Path) -> None:
    raw_mnist(tmp_path / "root" / "EMNIST" / "raw", "EMNIST", True, "emnist-digits-")
    config = source("torchvision", name="EMNIST", root=tmp_path / "root", options={"split": "digits"})
    assert len(sources.listing(config)) == 30
    other = source("torchvision", name="EMNIST", root=tmp_path / "root", options={"split": "letters"})
    with pytest.raises(UserError, match="cannot read EMNIST from"):
        sources.listing(other)


def test_a_set_of_pictures_on_disk(tmp_path: Path) -> None:
    """GTSRB as torchvision lays it out: PPM files by class, a table for test."""
    base = tmp_path / "root" / "gtsrb"
    for c in range(2):
        for i in range(3):
            save(base / "GTSRB" / "Training" / f"{c:05d}" / f"{i}.ppm", noise(9 * c + i, 20, 24, 3))
    for i in range(2):
        save(base / "GTSRB" / "Final_Test" / "Images" / f"{i}.ppm", noise(90 + i, 20, 24, 3))
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;0\n1.ppm;1\n")
    taken = came("torchvision", tmp_path, name="GTSRB", root=tmp_path / "root")
    assert taken.listing.classes == ("0", "1") and taken.images.shape == (8, 3, 16, 16)
    assert taken.splits.tolist() == ["train"] * 6 + ["test"] * 2


def test_attributes_and_identities(tmp_path: Path) -> None:
    """CelebA as torchvision lays it out: a person is a group."""
    base = tmp_path / "root" / "celeba"
    for i in range(6):
        save(base / "img_align_celeba" / f"{i}.jpg", noise(i, 22, 18, 3))
    names = [f"{i}.jpg" for i in range(6)]
    (base / "list_eval_partition.txt").write_text("".join(f"{n} {i // 2}\n" for i, n in enumerate(names)))
    (base / "identity_CelebA.txt").write_text("".join(f"{n} {i % 2 + 7}\n" for i, n in enumerate(names)))
    rows = "".join(f"{n} {1 if i % 2 else -1} -1\n" for i, n in enumerate(names))
    (base / "list_attr_celeba.txt").write_text(f"6\nSmiling Young\n{rows}")
    for part in ("list_bbox_celeba", "list_landmarks_align_celeba"):
        (base / f"{part}.txt").write_text("6\nx y\n" + "".join(f"{n} 1 2\n" for n in names))
    from torchvision.datasets import CelebA

    known = CelebA._check_integrity
    CelebA._check_integrity = lambda self: True  # these pictures are not the published ones
    try:
        config = source("torchvision", name="CelebA", root=tmp_path / "root", target="Smiling")
        listed = sources.listing(config)
        assert listed.classes == ("Smiling", "not Smiling")
        assert listed.groups.tolist() == ["7", "8"] * 3
        assert listed.splits.tolist() == ["train"] * 2 + ["test"] * 2 + ["val"] * 2
        with pytest.raises(UserError, match=r"set source\.target; choose from Smiling, Young"):
            sources.listing(source("torchvision", name="CelebA", root=tmp_path / "root"))
        with pytest.raises(UserError, match=r"unknown attribute of CelebA 'Smile' \(did you mean 'Smiling'"):
            sources.listing(source("torchvision", name="CelebA", root=tmp_path / "root", target="Smile"))
    finally:
        CelebA._check_integrity = known


def test_a_set_without_files_and_one_that_does_not_exist(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    made = came("torchvision", tmp_path, name="FakeData", options={"size": 12, "num_classes": 3})
    assert len(made.rows) == 12 and made.splits is None
    with pytest.raises(ValueError, match=r"unknown torchvision set 'MNISTT' \(did you mean"):
        source("torchvision", name="MNISTT")
    with pytest.raises(ValueError, match="the option 'train' is set by augpipe"):
        source("torchvision", name="MNIST", options={"train": 1})
    with pytest.raises(UserError, match=r"the root .*torchvision of MNIST is not a folder"):
        sources.listing(source("torchvision", name="MNIST"))
    (tmp_path / "empty").mkdir()
    for name in ("CIFAR10", "EMNIST", "SEMEION", "Caltech101"):  # SEMEION's download is on, Caltech101 adds a folder
        options = {"split": "letters"} if name == "EMNIST" else {}
        with pytest.raises(UserError, match=rf"cannot read {name} from") as caught:
            sources.listing(source("torchvision", name=name, root=tmp_path / "empty", options=options))
        assert "remove source.root and set source.download=true" in str(caught.value)
        assert "download=True" not in str(caught.value) and not list((tmp_path / "empty").iterdir())
    with pytest.raises(UserError, match=r"source\.root and source\.download are mutually exclusive"):
        sources.listing(source("torchvision", name="MNIST", root=tmp_path, download=True))


def test_a_download_without_a_network_is_told(tmp_path: Path, monkeypatch) -> None:
    """The proxy answers nothing: torchvision's own error becomes one line, and nothing is left half."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot download MNIST: .*without a network, put its files"):
        sources.listing(source("torchvision", name="MNIST", download=True))
    with pytest.raises(UserError, match=r"cannot download breastmnist: .*without a network"):
        sources.listing(source("medmnist", name="breastmnist", download=True))
