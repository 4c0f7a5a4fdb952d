from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from augpipe.errors import UserError
from augpipe.images import ImageOptions
from augpipe.sources import bundled, folder, load, sources


def folder_config(path: Path, **more: object) -> folder.Config:
    return folder.Config(kind="folder", path=path, **more)


def test_digits_are_scikit_learns() -> None:
    images = load(bundled.Config(kind="bundled"), ImageOptions(size=8))
    bunch = load_digits()
    assert images.images.shape == (1797, 1, 8, 8)
    assert np.array_equal(images.labels, bunch.target)
    assert np.array_equal(images.images[:, 0], np.round(bunch.images * 255 / 16).astype(np.uint8))
    assert images.classes == tuple("0123456789")
    assert load(bundled.Config(kind="bundled"), ImageOptions(channels=3)).spec.shape == (3, 16, 16)


def test_a_folder_comes_in_as_it_lies(tmp_path: Path, make_shapes, make_folder) -> None:
    images = make_shapes((4, 3), channels=3)
    make_folder(tmp_path / "pics", images)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    back = load(folder_config(tmp_path / "pics"), ImageOptions())
    assert np.array_equal(back.images, images.images) and back.classes == images.classes
    assert back.table["id"].tolist()[0] == "c0/0000.png"
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_size_and_channels_follow_the_pictures(tmp_path: Path, make_shapes, make_folder) -> None:
    make_folder(tmp_path / "grey", make_shapes((3, 3), size=30))
    found = folder.survey(folder_config(tmp_path / "grey"), ImageOptions())
    assert (found.spec.size, found.spec.channels) == (28, 1)
    assert found.counts == {"c0": 3, "c1": 3}


@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
def test_pictures_that_are_not_square(tmp_path: Path, resize: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wide = np.zeros((20, 40), np.uint8)
        wide[:, 10:30] = 255
        Image.fromarray(wide).save(tmp_path / name / "0.png")
    options = ImageOptions(size=20, channels=1, resize=resize)
    image = load(folder_config(tmp_path), options).images[0, 0]
    lit = (image > 127).mean()
    # Half of the picture is lit; fitted it loses half of its area to borders, cropped nothing is dark.
    assert lit == pytest.approx({"stretch": 0.5, "fit": 0.25, "crop": 1.0}[resize], abs=0.02)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture = Image.new("L", (16, 16))
        picture.paste(255, (0, 0, 16, 8))  # the upper half
        exif = Image.Exif()
        exif[0x0112] = 3  # stored upside down
        picture.save(tmp_path / name / "0.jpg", exif=exif, quality=95)
    image = load(folder_config(tmp_path), ImageOptions(size=16)).images[0, 0]
    assert image[:6].mean() < 40 and image[10:].mean() > 215


def build_bad(root: Path, what: str) -> Path:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        Image.new("L", (16, 16)).save(root / name / "ok.png")
    if what == "truncated":
        whole = (root / "a" / "ok.png").read_bytes()
        (root / "a" / "bad.png").write_bytes(whole[: len(whole) // 2])
    elif what == "text":
        (root / "a" / "bad.png").write_text("not a picture")
    elif what == "zero":
        (root / "a" / "bad.png").write_bytes(b"")
    elif what == "16 bit":
        Image.fromarray(np.full((16, 16), 40000, np.uint16)).save(root / "a" / "bad.png")
    elif what == "empty class":
        (root / "a" / "ok.png").unlink()
    return root


@pytest.mark.parametrize("what", ["truncated", "text", "zero", "16 bit"])
def test_what_cannot_be_read_is_named(tmp_path: Path, what: str) -> None:
    with pytest.raises(UserError, match=r"cannot read the picture .*bad\.png"):
        load(folder_config(build_bad(tmp_path / "x", what)), ImageOptions())


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(folder_config(tmp_path / "no"), ImageOptions())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        load(folder_config(tmp_path / "file"), ImageOptions())
    with pytest.raises(UserError, match="at least 2 classes"):
        load(folder_config(tmp_path), ImageOptions())
    with pytest.raises(UserError, match="holds no picture"):
        load(folder_config(build_bad(tmp_path / "x", "empty class")), ImageOptions())
    with pytest.raises(UserError, match=r"no class folder 'c'.*have a, b"):
        load(folder_config(tmp_path / "x", classes=("a", "c")), ImageOptions())


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = build_bad(tmp_path / "x", "")
    (root / "a" / "inside.png").symlink_to(root / "b" / "ok.png")
    assert load(folder_config(root), ImageOptions()).counts() == {0: 2, 1: 1}
    Image.new("L", (16, 16), 200).save(tmp_path / "secret.png")
    (root / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"link\.png leaves the folder"):
        load(folder_config(root), ImageOptions())
    (root / "a" / "link.png").unlink()
    (root / "c").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leaves the folder"):
        load(folder_config(root), ImageOptions())


def test_every_source_has_its_parts() -> None:
    from augpipe.kinds import load_kind

    for kind in sources():
        module = load_kind("augpipe.sources", kind, "source")
        assert module.Config.model_fields["kind"] and callable(module.load)
        assert module.__doc__  # a head that says what it reads


def test_headers_that_are_broken_otherwise(tmp_path: Path) -> None:
    root = build_bad(tmp_path / "x", "")
    for name, content in (
        ("h.ppm", b"P5 2x 24 255"),
        ("i.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x02IHDR\x00"),
    ):
        (root / "a" / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot read the picture"):
            load(folder_config(root), ImageOptions())
        (root / "a" / name).unlink()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    import os

    root = build_bad(tmp_path / "x", "")
    try:
        os.rename(root / "a" / "ok.png", os.fsencode(root / "a") + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    with pytest.raises(UserError, match="is not UTF-8; rename it"):
        load(folder_config(root), ImageOptions())


def test_a_class_given_twice() -> None:
    with pytest.raises(ValueError, match="the class 'a' is given twice"):
        folder_config(Path("x"), classes=("a", "a"))
