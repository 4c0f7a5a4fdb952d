"""Bad input, each on a real file of its kind: one clear reason, nothing lost, nothing written."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import apart
import numpy as np
import pandas as pd
import pytest
import warm
from pictures import came, folders, noise, png, save, source, why
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data import clean as partition
from augpipe.data import sources
from augpipe.data.intake import take_in
from augpipe.data.listing_check import check_names, drop_small_classes
from augpipe.data.options import Policy

FULL = ImageOptions(window="full")


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def frames(kind: str) -> bytes:
    buffer = io.BytesIO()
    many = [Image.fromarray(noise(i)) for i in range(3)]
    many[0].save(buffer, kind, save_all=True, append_images=many[1:])
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels in a few hundred kB; its head alone says so."""
    return png(20_000, 20_000, 8, 0, b"\0" * 1000)


def big() -> bytes:
    """Between what Pillow warns of and what it refuses."""
    return png(10_000, 10_000, 8, 0, b"\0" * 1000)


BAD = {
    "truncated.jpg": (lambda: jpeg(noise(0, 200, 200))[:2000], "truncated"),
    "truncated.png": (lambda: entry(noise(0, 90, 90))[:4000], "truncated"),
    "truncated.pgm": (lambda: b"P5 16 16 255\n" + bytes(100), "broken: "),
    "truncated.bmp": (lambda: b"BM" + bytes(12), "not a picture of a supported format"),
    "zero.png": (lambda: b"", "not a picture of a supported format"),
    "text.png": (lambda: b"not a picture", "not a picture of a supported format"),
    "page.jpg": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a supported format"),
    "bomb.png": (bomb, "decompression bomb"),
    "big.png": (big, "decompression bomb"),
    "moving.gif": (lambda: frames("GIF"), "a GIF of 3 frames; only 1 is supported"),
    "moving.png": (lambda: frames("PNG"), "a PNG of 3 frames; only 1 is supported"),
    "pages.tiff": (lambda: frames("TIFF"), "a TIFF of 3 frames; only 1 is supported"),
    "moving.webp": (lambda: frames("WEBP"), "a WEBP of 3 frames; only 1 is supported"),
    "deep.png": (lambda: png(2, 1, 16, 0, b"\0\x0f\xff\x00\x10"), r"values from 16 to 4095 .*need a window"),
    "colour16.png": (lambda: png(1, 1, 16, 2, b"\0" + bytes(range(6))), "16 bits per channel need image.window: full"),
    "greyalpha16.png": (lambda: png(1, 1, 16, 4, b"\0" + bytes(range(4))), "16 bits per channel need"),
    "head.ppm": (lambda: b"P5 2x 24 255", "broken: "),
    "half.png": (lambda: b"\x89PNG\r\n\x1a\n\x00\x00\x00\x02IHDR\x00", "not a picture|broken|Truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named_with_its_reason(tmp_path: Path, name: str) -> None:
    import re

    root = folders(tmp_path / "pics")
    build, told = BAD[name]
    (root / "a" / name).write_bytes(build())
    taken = came("folder", tmp_path, policy=Policy(), path=root)
    assert list(why(taken)) == [f"a/{name}"] and re.search(told, why(taken)[f"a/{name}"])
    assert "\n" not in why(taken)[f"a/{name}"] and "0x" not in why(taken)[f"a/{name}"]
    assert len(taken.rows) == 60 and np.array_equal(np.bincount(taken.labels), [30, 30])
    with pytest.raises(UserError, match=rf"cannot use a/{name}: .*\(set on_bad: quarantine"):
        came("folder", tmp_path / "2", policy=Policy(on_bad="fail"), path=root)


def test_more_than_one_in_twenty_stops(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 30)
    for i in range(3):
        (root / "a" / f"bad{i}.png").write_text("x")
    assert len(came("folder", tmp_path, policy=Policy(), path=root).bad) == 3
    (root / "b" / "bad.png").write_text("x")
    with pytest.raises(
        UserError, match=r"more than 5% of 64 files cannot be used, 4 so far.*; mend them or remove them"
    ):
        came("folder", tmp_path / "2", policy=Policy(), path=root)
    assert not (tmp_path / "2").exists() or not list((tmp_path / "2").glob("**/*.json"))


def test_a_wrong_extension_is_read_for_what_it_is(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    (root / "a" / "photo.png").write_bytes(jpeg(noise(5)))
    taken = came("folder", tmp_path, path=root)
    assert not taken.bad and taken.facts.format.tolist().count("JPEG") == 1


def test_broken_exif_costs_the_rotation_not_the_picture(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    whole = jpeg(noise(5), exif=b"Exif\0\0MM\x00\x2a\xff\xff\xff\xff garbage")
    (root / "a" / "x.jpg").write_bytes(whole)
    odd = Image.Exif()
    odd[0x0112] = 77  # an orientation that does not exist
    (root / "a" / "y.jpg").write_bytes(jpeg(noise(6), exif=odd))
    (root / "a" / "z.jpg").write_bytes(jpeg(noise(7), exif=b"Exif\0\0no exif at all"))
    taken = came("folder", tmp_path, path=root)
    assert not taken.bad and len(taken.rows) == 63
    assert any("unreadable EXIF" in note for note in taken.notes)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    upper = np.zeros((16, 24), np.uint8)
    upper[:8] = 255
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        root = tmp_path / str(orientation)
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
            (root / name / "x.jpg").write_bytes(jpeg(upper, exif=exif, quality=95))
        taken = came("folder", root, ImageOptions(size=16, resize="stretch"), path=root)
        image = taken.images[0, 0].astype(float)
        halves = {
            "top": image[:7].mean(),
            "bottom": image[9:].mean(),
            "left": image[:, :7].mean(),
            "right": image[:, 9:].mean(),
        }
        # EXIF 2.3, 4.6.4: where the stored first row and column belong.
        lit = ["top", "top", "bottom", "bottom", "left", "right", "right", "left"][orientation - 1]
        assert max(halves, key=halves.__getitem__) == lit, (orientation, halves)
        turned = orientation > 4
        assert (taken.facts.width[0], taken.facts.height[0]) == ((16, 24) if turned else (24, 16))


def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    """As a user without rights: the super-user may read everything."""
    root = folders(tmp_path / "pics")
    (root / "a" / "000.png").chmod(0)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o755)
    assert warm.call(apart.intake_without_rights, root) == ({"a/000.png": "Permission denied"}, 59)


def test_an_empty_class_folder_and_a_class_of_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    (root / "empty").mkdir()
    taken = came("folder", tmp_path, path=root)
    assert taken.listing.counts() == {"a": 30, "b": 30, "empty": 0}
    with pytest.raises(UserError, match="class 'empty' has no usable picture; add some, or exclude it"):
        partition.check_classes(taken)
    (root / "empty").rmdir()
    save(root / "one" / "x.png", noise(77))
    taken = came("folder", tmp_path / "2", path=root)
    with pytest.raises(UserError, match=r"class 'one' has 1 image; train, val and test need at least 3"):
        parted(taken)
    without = drop_small_classes(sources.listing(source("folder", path=root)), 3)
    assert without.classes == ("a", "b") and "1 class with fewer than 3 images left out (1 image)" in without.notes[-1]


def parted(taken: object, policy: Policy | None = None) -> partition.Partition:
    from augpipe.data.options import SplitOptions

    return partition.part(taken, SplitOptions(), policy or Policy(), np.random.default_rng(0))


def test_a_class_whose_pictures_are_all_bad_is_not_dropped(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 60)
    (root / "c").mkdir()
    (root / "c" / "x.png").write_text("x")
    taken = came("folder", tmp_path, policy=Policy(), path=root)
    with pytest.raises(
        UserError, match="class 'c' has no usable picture: 1 could not be used, the first: not a picture"
    ):
        partition.check_classes(taken)


NAMES = ("a,b", 'say "hi"', "two\nlines", "<b>bold&amp;<i>", "größe", "猫", "قطة", "a'b;--")


def test_class_names_of_every_kind(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 3, NAMES)
    taken = came("folder", tmp_path, path=root)
    assert set(taken.listing.classes) == set(NAMES) and not taken.bad
    check_names(taken.listing.classes)
    (root / NAMES[0] / "x,\n.png").write_text("x")
    assert list(why(came("folder", tmp_path / "2", path=root))) == [f"{NAMES[0]}/x,\n.png"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    try:
        os.rename(root / "a" / "000.png", os.fsencode(root / "a") + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    taken = came("folder", tmp_path, path=root)
    assert why(taken) == {"a/\\xff.png": "a file name that is not UTF-8; rename it"} and len(taken.rows) == 59


def test_links(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    outside = save(tmp_path / "secret" / "x.png", noise(99))
    (root / "a" / "inside.png").symlink_to(root / "b" / "000.png")
    (root / "a" / "out.png").symlink_to(outside)
    (root / "a" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (root / "a" / "self.png").symlink_to(root / "a" / "self.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "c").symlink_to(outside.parent)
    os.mkfifo(root / "b" / ".pipe")
    (root / "a" / "pipe.png").symlink_to(root / "b" / ".pipe")
    taken = came("folder", tmp_path, path=root)
    assert len(taken.rows) == 61  # the link that stays inside is read
    reasons = why(taken)
    assert "outside the folder" in reasons["a/out.png"] and "outside the folder" in reasons["c"]
    assert "broken or circular" in reasons["a/nowhere.png"] and "broken or circular" in reasons["a/self.png"]
    assert reasons["a/pipe.png"] == "a link to something that is neither a file nor a folder"
    assert reasons["a/loop"] == "a link to a folder, which is not followed"


def test_what_is_no_file(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    os.mkfifo(root / "a" / "pipe.png")  # read, it would wait for ever
    (root / "a" / "notes.txt").write_text("x")
    (root / "a" / ".hidden.png").write_text("x")
    save(root / "loose.png", noise(5))
    taken = came("folder", tmp_path, path=root)
    assert why(taken) == {
        "a/pipe.png": "neither a file nor a folder",
        "loose.png": "not in a class folder: layout {label}/**/*",
    }
    assert taken.listing.ignored == {".txt": 1, "hidden": 1}


# manifests


def manifest(root: Path, rows: list[tuple[str, ...]], head: str = "path,label") -> Path:
    path = root / "m.csv"
    path.write_text(head + "\n" + "".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_paths_that_leave_the_root(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    secret = save(tmp_path / "secret.png", noise(99))
    (root / "a" / "link.png").symlink_to(secret)
    (root / "deep").symlink_to(tmp_path)
    inside = [(f"{c}/{i:03d}.png", c) for c in "ab" for i in range(30)]
    bad = [
        "../secret.png",
        "a/../../secret.png",
        str(secret),
        "a/link.png",
        "deep/secret.png",
        "no.png",
        "a",
        "",
        "a/000.png/x.png",
        "/etc/passwd",
    ]
    path = manifest(root, inside + [(b, "a") for b in bad])
    taken = came("manifest", tmp_path, path=path)
    assert len(taken.rows) == 60 and len(taken.bad) == len(bad)
    reasons = {one.id: one.reason.split(": ", 1)[1] for one in taken.bad}
    for name in ("../secret.png", "a/../../secret.png", str(secret), "/etc/passwd"):
        assert "outside the root" in reasons[name], name
    assert "outside the root" in reasons["a/link.png"] and "outside the root" in reasons["deep/secret.png"]
    assert reasons["no.png"] == "file does not exist" and reasons["a"] == "not a file"
    assert reasons["row 68"] == "no path" and "file does not exist" in reasons["a/000.png/x.png"]
    whole = manifest(root, [(str(root / name), label) for name, label in inside])
    assert len(sources.listing(source("manifest", path=whole))) == 60  # absolute, and inside


def test_rows_that_miss_something(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    rows = [(f"{c}/{i:03d}.png", c, f"p{i}", "train", "1") for c in "ab" for i in range(30)]
    rows[1] = (rows[1][0], "", "p", "train", "1")
    rows[2] = (rows[2][0], "a", "", "train", "1")
    rows[3] = (rows[3][0], "a", "p", "", "1")
    rows[4] = (rows[4][0], "a", "p", "train", "-1")
    rows[5] = (rows[5][0], "a", "p", "train", "nan")
    rows[6] = (rows[6][0], "a", "p", "train", "much")
    listed = sources.listing(source("manifest", path=manifest(root, rows, "path,label,group,split,weight")))
    assert [b.reason for b in listed.bad] == [
        "row 2: no label",
        "row 4: no split, although other rows have one: write train, val or test, or leave them out",
        *[f"row {i}: the weight is not a number above 0" for i in (5, 6, 7)],
    ]
    assert listed.groups[1] == "a/002.png"  # without a group, a group of its own
    with pytest.raises(
        UserError, match=r"unknown split 'holdout' in the manifest .*; choose from train.*splits={holdout: train}"
    ):
        sources.listing(source("manifest", path=manifest(root, [("a/000.png", "a", "holdout")], "path,label,split")))


def test_a_path_given_twice(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    rows = [(f"{c}/{i:03d}.png", c) for c in "ab" for i in range(30)]
    path = manifest(root, [*rows, ("a/000.png", "a"), ("./a//001.png", "a"), ("a/002.png", "b")])
    listed = sources.listing(source("manifest", path=path))
    assert [(b.id, b.reason) for b in listed.bad] == [
        ("a/002.png", "row 3: duplicate path with another label: write one row for each picture"),
        ("a/002.png", "row 63: duplicate path with another label: write one row for each picture"),
    ]
    assert len(listed) == 59
    assert [note.split(":")[0] for note in listed.notes] == [
        "1 picture of 60 not used, as rows have different labels",
        "2 rows repeated",
    ]
    groups = [(*row, "p") for row in rows] + [("a/000.png", "a", "q"), ("a/001.png", "a", "p")]
    listed = sources.listing(source("manifest", path=manifest(root, groups, "path,label,group")))
    assert [b.reason for b in listed.bad] == ["row 61: duplicate path with another group"]
    assert len(listed) == 60


def test_labels_of_mixed_type(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 3)
    rows = [("a/000.png", "1"), ("a/001.png", "1.0"), ("b/000.png", "0")]
    with pytest.raises(UserError, match=r"the labels '1' and '1\.0' of .* are the same number"):
        sources.listing(source("manifest", path=manifest(root, rows)))
    np.savez(tmp_path / "x.npz", images=noise(0, 2, 8, 8), labels=np.array([1, "a"], object))
    with pytest.raises(UserError, match=r"labels of .*x\.npz has Python objects"):
        sources.listing(source("arrays", path=tmp_path / "x.npz"))
    pd.DataFrame({"path": ["a/000.png"], "label": [[1, 2]]}).to_parquet(root / "m.parquet")
    with pytest.raises(UserError, match=r"the column 'label' of .* is of type list.*use text"):
        sources.listing(source("manifest", path=root / "m.parquet"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot read the manifest"),
        ("path,label\n", "has no rows"),
        ("path,label,label\na,b,c\n", "has more than one column 'label'"),
        ("path,label\na\n", "cannot read the manifest"),
        ("path;lable\na;b\n", r"has no column 'label' \(did you mean 'lable'\?\); it has path, lable"),
        ("file,label\na,b\n", r"has no column 'path'; it has file, label \(set source\.columns"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        sources.listing(source("manifest", path=tmp_path / "m.csv"))


def test_a_table_that_is_not_utf8(tmp_path: Path) -> None:
    folders(tmp_path, 3)
    (tmp_path / "m.csv").write_bytes(b"path,label\na/000.png,gr\xf6\xdfe\n")
    with pytest.raises(UserError, match=r"not UTF-8 \(byte 0xf6 in line 2\)"):
        sources.listing(source("manifest", path=tmp_path / "m.csv"))


def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    """All but a few of the files are missing: told in one line, within seconds of processor time and 1.5 GB."""
    root = folders(tmp_path / "pics", 3)
    path = root / "m.csv"
    rows = (f"img/{i // 1000}/{i:07d}.png,{'ab'[i % 2]},p{i // 50}" for i in range(100_000))
    there = next(root.rglob("*.png")).relative_to(root)
    with path.open("w") as out:
        out.write(f"path,label,group\n{there},a,p\n")
        out.writelines(f"{row}\n" for row in rows)
    unusable, seconds, memory, message = warm.call(apart.intake_of, path)
    assert unusable == 100_000 and seconds < 6 and memory < 1.5e9
    assert message.startswith("more than 5% of 100,001 files cannot be used") and len(message) < 500


# arrays


def arrays(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, images=images, labels=labels)
    return path


def test_floats_in_either_range(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    unit = np.random.default_rng(0).random((40, 16, 16)).astype(np.float32)
    unit[0, 0, :2] = 0, 1
    one = came("arrays", tmp_path / "1", path=arrays(tmp_path / "1.npz", unit, labels))
    assert np.array_equal(one.images[:, 0], np.round(unit * 255).astype(np.uint8))
    assert any("read as 0 to 1 unless" in note for note in one.notes)
    wide = came("arrays", tmp_path / "2", path=arrays(tmp_path / "2.npz", unit * 255.0, labels))
    assert np.array_equal(wide.images, one.images) and any("0 to 255" in note for note in wide.notes)
    mixed = np.concatenate([unit[:20], unit[20:] * 255])
    hot = unit.copy()
    hot[0, 0, 0] = 1.5  # one pixel above 1: are they 0 to 1, or nearly black?
    for n, doubtful in enumerate((mixed, hot)):
        with pytest.raises(UserError, match=r"need a window: set image\.window: \[low, high\];"):
            came("arrays", tmp_path / f"6{n}", policy=Policy(), path=arrays(tmp_path / "6.npz", doubtful, labels))
    signed = arrays(tmp_path / "3.npz", unit * 2 - 1, labels)
    with pytest.raises(UserError, match=r"values from -.* need a window"):
        came("arrays", tmp_path / "3", policy=Policy(), path=signed)
    half = came("arrays", tmp_path / "5", ImageOptions(window=(0, 0.5)), path=tmp_path / "1.npz")
    assert np.array_equal(half.images, np.clip(np.round(unit * 510), 0, 255).astype(np.uint8)[:, None])
    windowed = came("arrays", tmp_path / "4", ImageOptions(window=(-1, 1)), path=signed)
    assert np.abs(windowed.images.astype(int) - one.images).max() <= 1


def test_nan_and_inf_are_quarantined(tmp_path: Path) -> None:
    unit = np.random.default_rng(0).random((60, 16, 16))
    unit[3, 5, 5], unit[7, 0, 0], unit[8, 1, 1] = np.nan, np.inf, -np.inf
    path = arrays(tmp_path / "x.npz", unit, np.arange(60) % 2)
    taken = came("arrays", tmp_path, policy=Policy(), path=path)
    assert why(taken) == dict.fromkeys(("images/000003", "images/000007", "images/000008"), "NaN or infinite pixels")
    assert len(taken.rows) == 57 and taken.rows[3] == 4
    assert np.array_equal(taken.images[3, 0], np.round(unit[4] * 255).astype(np.uint8))


def test_each_array_has_its_own_range(tmp_path: Path) -> None:
    parts = {"train_images": noise(0, 20, 16, 16), "test_images": noise(1, 10, 16, 16) / 255.0}
    np.savez(tmp_path / "x.npz", **parts, train_labels=np.arange(20) % 2, test_labels=np.arange(10) % 2)
    taken = came("arrays", tmp_path, path=tmp_path / "x.npz")
    assert np.array_equal(taken.images[:20, 0], noise(0, 20, 16, 16))
    assert np.array_equal(taken.images[20:, 0], noise(1, 10, 16, 16))
    assert "test: float64" in taken.notes[0]


def test_pictures_by_other_names_and_formats_are_not_lost(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    (root / "a" / "photo").write_bytes(entry(noise(900)))
    (root / "a" / "scan.jfif").write_bytes(jpeg(noise(901)))
    (root / "a" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "a" / "LICENSE").write_text("words")
    taken = came("folder", tmp_path, path=root)
    assert len(taken.rows) == 62 and taken.listing.ignored == {"no suffix": 1}
    assert why(taken) == {"a/phone.HEIC": "HEIC, an unsupported format"}


def test_sixteen_bits_need_a_window(tmp_path: Path) -> None:
    low = np.random.default_rng(0).integers(0, 200, (20, 16, 16)).astype(np.int64)
    wide = came("arrays", tmp_path / "3", path=arrays(tmp_path / "y.npz", low, np.arange(20) % 2))
    assert np.array_equal(wide.images[:, 0], low) and "int64 from 0 to 199" in wide.notes[0]
    deep = np.random.default_rng(0).integers(0, 4096, (20, 16, 16)).astype(np.uint16)
    path = arrays(tmp_path / "x.npz", deep, np.arange(20) % 2)
    with pytest.raises(UserError, match=r"values from 0 to 4095|need a window"):
        came("arrays", tmp_path, policy=Policy(), path=path)
    taken = came("arrays", tmp_path / "2", ImageOptions(window=(0, 4095)), path=path)
    assert np.array_equal(taken.images[:, 0], np.round(deep * (255 / 4095)).astype(np.uint8))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"images": noise(0, 5, 8, 8), "labels": np.arange(4)}, "5 images of .* but 4 labels"),
        ({"images": noise(0, 5, 8, 8), "labels": np.array(["1", "01", "2", "2", "2"])}, "use one spelling"),
        ({"images": noise(0, 5, 8, 8), "train_images": noise(0, 5, 8, 8)}, "has both images and train"),
        ({"images": noise(0, 5, 8, 8)}, "has no labels; it has images$"),
        ({"images": noise(0, 5, 8, 8), "fine": np.arange(5)}, "has no labels; it has .*fine.*: save them by name"),
        ({"pics": noise(0, 5, 8, 8)}, "has neither images and labels nor train_images"),
        ({"x": noise(0, 5, 8, 8)}, "has no y; it has x"),
        ({"test_images": noise(0, 5, 8, 8), "test_labels": np.zeros(5)}, "has no train_images"),
        ({"images": noise(0, 5, 8, 8, 7), "labels": np.zeros(5)}, "1 or 3 channels"),
        ({"images": noise(0, 5, 8), "labels": np.zeros(5)}, r"images are \(N,H,W\)"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0)}, r"images are \(N,H,W\)"),
        ({"images": noise(0, 5, 8, 8), "labels": np.zeros((5, 3))}, "5 rows without a 1"),
        ({"images": noise(0, 5, 8, 8), "labels": np.array([0, 1, np.nan, 0, 1])}, "contain nan"),
        ({"images": noise(0, 5, 8, 8), "labels": np.array([0, 1, 0.5, 0, 1])}, "contain 0.5"),
        ({"images": np.array([{}] * 5), "labels": np.zeros(5)}, "has Python objects"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, parts: dict[str, np.ndarray], told: str) -> None:
    np.savez(tmp_path / "x.npz", **parts)
    with pytest.raises(UserError, match=told):
        sources.listing(source("arrays", path=tmp_path / "x.npz"))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cannot read .*x\.npz"):
        sources.listing(source("arrays", path=tmp_path / "x.npz"))
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00garbage")
    np.save(tmp_path / "y.npy", np.arange(3))
    with pytest.raises(UserError, match=r"x\.npy is not an array"):
        sources.listing(source("arrays", path=tmp_path / "x.npy", labels=tmp_path / "y.npy"))
    whole = io.BytesIO()
    np.save(whole, noise(0, 3, 40, 40))
    (tmp_path / "x.npy").write_bytes(whole.getvalue()[:-100])
    listed = sources.listing(source("arrays", path=tmp_path / "x.npy", labels=tmp_path / "y.npy"))
    with pytest.raises(UserError, match="ends before its last image"):
        take_in(listed, ImageOptions(), None)


# archives


def entry(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_archive_members_that_lead_elsewhere(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c in "ab" for i in range(30)]
    evil = ["../out.png", "/abs.png", "a/../../out.png", "C:\\x.png", "..\\out.png"]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i, name in enumerate([*names, *evil]):
            archive.writestr(name, entry(noise(i)))
    taken = came("archive", tmp_path / "z", path=tmp_path / "x.zip")
    assert len(taken.rows) == 60 and len(taken.bad) == 5
    assert set(why(taken).values()) == {"a path outside the archive"}
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i, name in enumerate([*names, *evil[:3]]):
            data = entry(noise(i))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        pipe = tarfile.TarInfo("a/pipe.png")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    taken = came("archive", tmp_path / "t", path=tmp_path / "x.tar")
    assert len(taken.rows) == 60 and why(taken)["a/link.png"] == "a link"
    assert why(taken)["a/pipe.png"] == "a device or a sparse file"
    assert list(why(taken).values()).count("a path outside the archive") == 3
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "x.tar", "z", "t"}


def test_an_archive_that_is_cut_or_a_bomb(tmp_path: Path, monkeypatch) -> None:
    from augpipe.data.sources import _archive_files as module

    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for c in "ab":
            for i in range(30):
                archive.writestr(f"{c}/{i}.png", entry(noise(i)))
        archive.writestr("a/bomb.png", bytes(3_000_000))
    whole = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cannot read the archive .*cut\.zip"):
        sources.listing(source("archive", path=tmp_path / "cut.zip"))
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    taken = came("archive", tmp_path, path=tmp_path / "x.zip")
    assert "a decompression bomb" in why(taken)["a/bomb.png"] and len(taken.rows) == 60
    hurt = bytearray(whole)
    hurt[300] ^= 0xFF  # inside the second member's data
    (tmp_path / "hurt.zip").write_bytes(hurt)
    taken = came("archive", tmp_path / "2", path=tmp_path / "hurt.zip")
    assert len(taken.bad) == 2 and any("CRC" in r or "decompress" in r for r in why(taken).values())


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.62, 0.9])
def test_a_tar_that_is_cut(tmp_path: Path, suffix: str, share: float) -> None:
    root = folders(tmp_path / "pics", 20)
    with tarfile.open(tmp_path / f"x{suffix}", f"w:{suffix[5:]}") as archive:
        archive.add(root, "w")
    whole = (tmp_path / f"x{suffix}").read_bytes()
    at = int(len(whole) * share) // 512 * 512 if suffix == ".tar" else int(len(whole) * share)
    (tmp_path / f"x{suffix}").write_bytes(whole[:at])
    with pytest.raises(UserError, match=r"cannot read the archive .*x\.tar"):
        sources.listing(source("archive", path=tmp_path / f"x{suffix}"))


def test_zips_inside_a_zip_that_cannot_be_used(tmp_path: Path, monkeypatch) -> None:
    from augpipe.data.sources import _archive_files as module

    def zipped(names: list[str]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for i, name in enumerate(names):
                archive.writestr(name, entry(noise(i)))
        return buffer.getvalue()

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as outer:
        outer.writestr("ok.zip", zipped(["a/0.png", "b/0.png"]))
        outer.writestr("broken.zip", b"no zip")
        outer.writestr("big.zip", zipped([f"a/{i}.png" for i in range(9)]))
        outer.writestr("__MACOSX/._x.zip", b"x")
    monkeypatch.setattr(module, "LARGEST", 2000)
    listed = sources.listing(source("archive", path=tmp_path / "x.zip"))
    assert listed.counts() == {"a": 1, "b": 1} and listed.ignored == {"__MACOSX": 1}
    big, broken = sorted(listed.lost)
    assert broken.startswith("the zip broken.zip in the archive") and "not a zip" in broken
    assert "the zip big.zip" in big and "a decompression bomb" in big


def test_splits_in_archives_of_their_own(tmp_path: Path) -> None:
    for side, n in (("train", 6), ("test", 3)):
        with zipfile.ZipFile(tmp_path / f"{side}.zip", "w") as archive:
            for c in "ab":
                for i in range(n):
                    archive.writestr(f"{side}/{c}/{i}.png", entry(noise(i + 50 * ord(c) + n)))
    both = [tmp_path / "train.zip", tmp_path / "test.zip"]
    listed = sources.listing(source("archive", path=both))
    assert listed.classes == ("a", "b") and listed.splits.tolist() == ["train"] * 12 + ["test"] * 6
    same = [tmp_path / name / "s.zip" for name in "xyz"]
    for k, path in enumerate(same):
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            for c in "ab":
                archive.writestr(f"{c}/1.png", entry(noise(k + 10 * ord(c))))
    listed = sources.listing(source("archive", path=same))
    assert listed.counts() == {"a": 3, "b": 3} and listed.ids[2:4] == ["a/1~2.png", "b/1~2.png"]


def test_train_and_test_beside_another_folder_are_asked_about(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/b", "docs"):
        save(tmp_path / name / "x.png", noise(len(name)))
    with pytest.raises(UserError, match=r"has both train and test folders and docs: leave these .*exclude=\[\"\*docs/"):
        sources.listing(source("folder", path=tmp_path))
    save(tmp_path / "docs" / "a" / "y.png", noise(77))
    with pytest.raises(UserError, match=r"docs: leave these out with .*exclude=\[.*if the others are a"):
        sources.listing(source("folder", path=tmp_path))
    (tmp_path / "docs" / "a" / "y.png").unlink()
    assert len(sources.listing(source("folder", path=tmp_path, layout="{split}/{label}/*"))) == 4


def test_a_class_folder_that_cannot_be_entered_stops_a_run(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    folders(tmp_path / "elsewhere", 30, ("c",))
    (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
    with pytest.raises(UserError, match="cannot read the folder c: a link to outside the folder"):
        came("folder", tmp_path, policy=Policy(), path=root)


def test_the_same_picture_in_grey_and_in_colour_is_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics")
    grey = Image.fromarray(noise(500))
    for mode, name in (("L", "g.png"), ("RGB", "c.png"), ("P", "p.gif"), ("RGBA", "t.png")):
        grey.convert("L").convert(mode).save(root / "ab"[mode == "RGB"] / name)
    taken = came("folder", tmp_path, path=root)
    assert len(set(taken.facts.content.tolist())) == 61


def test_a_broken_npz(tmp_path: Path) -> None:
    path = arrays(tmp_path / "x.npz", noise(0, 40, 16, 16), np.arange(40) % 2)
    hurt = bytearray(path.read_bytes())
    hurt[3000] ^= 0xFF
    path.write_bytes(hurt)
    with pytest.raises(UserError, match=r"cannot read .*x\.npz: Bad CRC-32"):
        came("arrays", tmp_path, path=path)
    np.savez(tmp_path / "y.npz", images=noise(0, 4, 8, 8), labels=np.array(["", "a", "b", "a"]))
    with pytest.raises(UserError, match=r"the label of image 0 of .* is empty"):
        sources.listing(source("arrays", path=tmp_path / "y.npz"))


def test_an_encrypted_zip(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        for c in "ab":
            archive.writestr(f"{c}/0.png", entry(noise(0)))
    data = bytearray(plain.getvalue())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1  # the directory's flag of encryption
    (tmp_path / "x.zip").write_bytes(data)
    listed = sources.listing(source("archive", path=tmp_path / "x.zip"))
    assert [(b.id, b.reason) for b in listed.bad] == [("a/0.png", "encrypted")]
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"no usable picture; the first, a/0\.png: encrypted"):
        sources.listing(source("archive", path=tmp_path / "y.zip"))


# leaks


def test_the_same_image_under_two_labels_and_on_two_sides(tmp_path: Path) -> None:
    root = tmp_path / "pics"
    for side, n in (("train", 30), ("val", 10), ("test", 10)):
        for c in "ab":
            for i in range(n):
                save(root / side / c / f"{i}.png", noise(1000 * len(side) + 100 * ord(c) + i))
    shared = noise(1)
    save(root / "train" / "a" / "copy.png", shared)
    save(root / "test" / "a" / "original.bmp", shared)  # another file, the same pixels
    save(root / "train" / "b" / "torn.png", shared)  # and under another label
    save(root / "val" / "a" / "again.png", shared)
    taken = came("folder", tmp_path, path=root)
    found = parted(taken)
    assert set(found.removed) == {"train/a/copy.png", "train/b/torn.png", "val/a/again.png"}
    assert found.removed["train/a/copy.png"][1].startswith("removed from train: equal to ")
    assert "which has class a" in found.removed["train/b/torn.png"][1]
    assert found.removed["val/a/again.png"][1] == "removed from val: equal to test/a/original.bmp in test"
    assert [len(found.rows[s]) for s in ("train", "val", "test")] == [60, 20, 21]
    assert sum(": also in " in note for note in found.notes) == 2
    kept = parted(taken, Policy(duplicates="keep"))
    assert len(kept.rows["train"]) == 62 and not kept.removed


def test_a_class_that_only_repeats_test_is_told(tmp_path: Path) -> None:
    root = tmp_path / "pics"
    for side in ("train", "val", "test"):
        for c in "ab":
            save(root / side / c / "x.png", noise(ord(c)) if c == "a" else noise(len(side + c) * 7))
    with pytest.raises(UserError, match="class 'a' has no image left in train after"):
        parted(came("folder", tmp_path, path=root))
