"""Archives: names in other encodings, and bombs of archives within archives."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import came, folders, listed_as, noise, save, source, why
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.data.sources import archive


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def zip_of_names(path: Path, names: list[bytes], extra: bool = False) -> Path:
    """A zip whose names are these bytes, without the flag of UTF-8; extra: with their UTF-8 in Info-ZIP's field."""
    with zipfile.ZipFile(path, "w") as packed:
        for i, raw in enumerate(names):
            info = zipfile.ZipInfo("x" * len(raw))  # replaced below: zipfile writes ASCII or UTF-8
            if extra:
                field = b"\1" + struct.pack("<L", zlib.crc32(raw)) + raw.decode("gbk").encode()
                info.extra = struct.pack("<HH", 0x7075, len(field)) + field
            packed.writestr(info, png(i))
    data = path.read_bytes()
    for raw in names:  # in the local header and in the directory
        length = len(raw)
        local = data.index(b"x" * length)
        data = data[:local] + raw + data[local + length :]
        central = data.rindex(b"PK\1\2", 0, data.index(b"x" * length) + 1) + 46
        data = data[:central] + raw + data[central + length :]
    path.write_bytes(data)
    return path


NAMES = [f"{name}/{i}.png" for i, name in enumerate(("良性的", "恶性"))]


def test_names_in_utf_8_without_its_flag(tmp_path: Path) -> None:
    path = zip_of_names(tmp_path / "x.zip", [name.encode() for name in NAMES])
    listing = sources.listing(source("archive", path=path))
    assert set(listing.classes) == {"良性的", "恶性"} and not listing.notes


def test_names_in_another_encoding(tmp_path: Path) -> None:
    path = zip_of_names(tmp_path / "x.zip", [name.encode("gbk") for name in NAMES])
    listing = sources.listing(source("archive", path=path))
    (note,) = listing.notes
    assert note.startswith("2 file names of unknown encoding read as cp437, such as '")
    assert note.endswith("set source.encoding, such as gbk or shift_jis, if they look wrong")
    listing = sources.listing(source("archive", path=path, encoding="gbk"))
    assert set(listing.classes) == {"良性的", "恶性"} and not listing.notes
    blobs = list(listing.fetch(listing.labels.argsort()))
    assert sorted(blobs) == sorted((png(0), png(1)))
    other = source("archive", path=path, encoding="ascii")
    with pytest.raises(UserError, match=r"no usable picture; .*: a file name that is not ascii"):
        sources.listing(other)


def test_names_in_info_zips_field(tmp_path: Path) -> None:
    path = zip_of_names(tmp_path / "x.zip", [name.encode("gbk") for name in NAMES], extra=True)
    assert set(sources.listing(source("archive", path=path)).classes) == {"良性的", "恶性"}
    data = path.read_bytes()
    crc = struct.pack("<L", zlib.crc32(NAMES[0].encode("gbk")))
    path.write_bytes(data.replace(crc, b"\0\0\0\0"))  # the field of a file that was renamed
    listing = sources.listing(source("archive", path=path))
    assert "恶性" in listing.classes and "良性的" not in listing.classes


def test_names_of_a_tar_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="gbk") as packed:
        for i, name in enumerate(NAMES):
            info = tarfile.TarInfo(name)
            info.size = len(png(i))
            packed.addfile(info, io.BytesIO(png(i)))
    with pytest.raises(UserError, match="a file name that is not UTF-8"):
        sources.listing(source("archive", path=path))
    listing = sources.listing(source("archive", path=path, encoding="gbk"))
    assert set(listing.classes) == {"良性的", "恶性"}


def test_a_file_beside_with_a_zero_byte_in_its_name_is_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        for i, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png", "notes")):
            info = tarfile.TarInfo(name)
            info.size = len(blob := png(i))
            if name == "notes":
                info.pax_headers = {"path": "no\0tes.txt"}
            packed.addfile(info, io.BytesIO(blob))
    assert sources.listing(source("archive", path=[tmp_path / "x.tar"])).counts() == {"a": 2, "b": 2}


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_zips_within_an_archive_have_a_limit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Each is below the limit of one; together they unpack to more than the limit of all."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:  # stored: 3 of 10,000 bytes each, which the outer zip shrinks
        packed.writestr("a/0.png", png(0))
        packed.writestr("zeros.txt", bytes(10_000))
    path, size = tmp_path / f"x{suffix}", len(inner.getvalue())
    names = [f"{c}{i}.zip" for i, c in enumerate("abc")]
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as outer:
            for name in names:
                outer.writestr(name, inner.getvalue())
    else:
        with tarfile.open(path, "w") as outer_tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = size
                outer_tar.addfile(info, io.BytesIO(inner.getvalue()))
    monkeypatch.setattr(archive, "RATIO", 0)
    monkeypatch.setattr(archive, "INNER", 3 * size)
    assert len(sources.listing(source("archive", path=path, layout="{label}/*"))) == 1
    monkeypatch.setattr(archive, "INNER", 3 * size - 1)
    with pytest.raises(UserError, match=r"the archives inside the archive .* decompression bomb"):
        sources.listing(source("archive", path=path))
    # An archive that is large itself may hold as much.
    monkeypatch.setattr(archive, "RATIO", 1000)
    assert len(sources.listing(source("archive", path=path, layout="{label}/*"))) == 1


@pytest.mark.parametrize("broken", [b"PK no zip", b""])
def test_a_zip_inside_that_cannot_be_read_stops_a_run(tmp_path: Path, broken: bytes) -> None:
    """It may be a whole class; one line of quarantine would hide that."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("a/0.png", png(0))
        packed.writestr("b/0.png", png(1))
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("ab.zip", inner.getvalue())
        outer.writestr("c.zip", broken)
    listing = sources.listing(source("archive", path=path))
    assert listing.lost == (f"the zip c.zip in the archive {path}: File is not a zip file",)
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("c.zip", broken)
    with pytest.raises(UserError, match=r"cannot read the zip c\.zip in the archive"):
        sources.listing(source("archive", path=path))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_whose_header_is_a_bomb(tmp_path: Path, kind: bytes) -> None:
    """tarfile reads such a header whole: 300 MiB of zeros are 300 kB of a compressed tar."""
    path = tmp_path / "x.tar"
    first, header = tarfile.TarInfo("a/0.png"), tarfile.TarInfo("header")
    header.type, header.size = kind, 2**20 + 1
    with path.open("wb") as stream:
        stream.write(first.tobuf() + header.tobuf() + bytes(2**20 + 1024))
    with pytest.raises(UserError, match=r"a header of 1,048,577 bytes, a decompression bomb"):
        sources.listing(source("archive", path=path))
    name = "a" * 300 + "/0.png"  # a long name of a fair length
    with tarfile.open(path, "w") as packed:
        for one in (name, name.replace("a/", "b/")):
            info = tarfile.TarInfo(one)
            info.size = len(png(0))
            packed.addfile(info, io.BytesIO(png(0)))
    assert len(sources.listing(source("archive", path=path))) == 2


def packed_table(path: Path, pictures: list[str], table: str, rows: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for i, name in enumerate(pictures):
            packed.writestr(name, png(i))
        packed.writestr(table, rows)
    return path


@pytest.mark.parametrize("top", ["", "HAM/"])
def test_a_table_beside_the_folders_of_an_archive(tmp_path: Path, top: str) -> None:
    """Parts of a download are no classes, as in a folder;
    in a zip and in a tar, without the folder and suffix of pictures.
    """
    names = [f"{top}part_{1 + i % 2}/{i}.png" for i in range(12)]
    rows = "image_id,dx\n" + "".join(f"{i},{'ab'[i // 6]}\n" for i in range(12))
    path = packed_table(tmp_path / "x.zip", names, f"{top}HAM_metadata.csv", rows)
    told = (
        rf"the table {top}HAM_metadata\.csv in the archive .*unpack .*augpipe run {top}HAM_metadata\.csv "
        r"--set source\.columns\.path=image_id --set source\.columns\.label=dx\), or set source\.layout="
    )
    with pytest.raises(UserError, match=told):
        sources.listing(source("archive", path=path))
    listing = sources.listing(source("archive", path=path, layout="{label}/**/*"))
    assert listing.classes == ("part_1", "part_2")
    with zipfile.ZipFile(path) as packed, tarfile.open(tmp_path / "x.tar", "w") as tar:
        for member in packed.namelist():
            info = tarfile.TarInfo(member)
            info.size = len(packed.read(member))
            tar.addfile(info, io.BytesIO(packed.read(member)))
    with pytest.raises(UserError, match=told):
        sources.listing(source("archive", path=tmp_path / "x.tar"))


def test_tables_of_an_archive_that_do_not_contradict_it(tmp_path: Path) -> None:
    names = [f"{'cat' if i % 2 else 'dog'}/{i}.png" for i in range(12)]
    rows = "path,label\n" + "".join(f"{name},{name[:3]}\n" for name in names)
    for table, text in (("labels.csv", rows), ("other.csv", "x\n1\n"), ("broken.csv", "\xff\0")):
        path = packed_table(tmp_path / "x.zip", names, table, text)
        listing = sources.listing(source("archive", path=path))
        assert listing.counts() == {"cat": 6, "dog": 6} and listing.ignored == {".csv": 1}
    path = packed_table(tmp_path / "x.zip", names, "../evil.csv", rows.replace("cat\n", "x\n"))
    assert len(sources.listing(source("archive", path=path))) == 12
    images = [f"images/{i}.png" for i in range(12)]
    rows = "path,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(images))
    path = packed_table(tmp_path / "x.zip", images, "labels.csv", rows)
    with pytest.raises(UserError, match=r"unpack the archive and use the table"):
        sources.listing(source("archive", path=path))


def of_split(path: Path, top: str, seeds: range) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for i in seeds:
            packed.writestr(f"{top}{'ab'[i % 2]}/{i}.png", png(i))
    return path


@pytest.mark.parametrize(
    ("names", "tops"),
    [
        (("train", "test"), ("", "")),
        (("ISIC_train", "ISIC-Test"), ("x/", "x/")),
        (("training", "valid"), ("training/", "y/")),
    ],
)
def test_archives_that_are_the_split_by_their_names(
    tmp_path: Path, names: tuple[str, str], tops: tuple[str, str]
) -> None:
    """Also if one picture is in both, which a run reports as a leak."""
    seeds = (range(8), range(6, 12))
    paths = [of_split(tmp_path / f"{name}.zip", top, rows) for name, top, rows in zip(names, tops, seeds, strict=True)]
    listing = sources.listing(source("archive", path=paths))
    other = "val" if names[1] == "valid" else "test"
    assert listing.splits.tolist() == [listing.ids[i].split("/")[0] for i in range(14)]
    assert listing.classes == ("a", "b") and listing.ids[0].startswith("train/")
    assert listing.splits.tolist().count(other) == 6
    (note,) = listing.notes
    assert note.startswith("the names of the archives are the split (")
    merged = sources.listing(source("archive", path=paths, layout="**/{label}/*"))
    assert merged.splits is None and len(merged) == 12 + 2 * (tops[0] != tops[1])


def test_archives_of_which_only_some_are_a_split(tmp_path: Path) -> None:
    paths = [of_split(tmp_path / f"{n}.zip", "", range(4)) for n in ("train", "test", "more")]
    with pytest.raises(UserError, match=r"and more\.zip not: rename these, or set source\.layout="):
        sources.listing(source("archive", path=paths))
    with zipfile.ZipFile(paths[0], "a") as packed:
        for side in ("train", "test"):
            packed.writestr(f"{side}/a/9.png", png(9))
    with pytest.raises(UserError, match=r"the archive train is train by its name and has the f"):
        sources.listing(source("archive", path=paths[:2]))


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """A zip or tar, by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith(".gz") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("x.zip", ("data/train.zip", "data/test.zip")),
        ("x.tar", ("train.tar.gz", "test.tar")),
        ("x.zip", ("train/ab.zip", "val/ab.zip")),
    ],
)
def test_archives_inside_an_archive_that_are_the_split_by_their_names(
    tmp_path: Path, outer: str, inner: tuple[str, str]
) -> None:
    other = "test" if "test" in inner[1] else "val"
    files = [
        packed(tmp_path / name, {f"top/{'ab'[i % 2]}/{i}.png": png(i) for i in rows})
        for name, rows in zip(inner, (range(4), range(4, 6)), strict=True)
    ]
    members = {name: file.read_bytes() for name, file in zip(inner, files, strict=True)}
    whole = packed(tmp_path / outer, members)
    listing = sources.listing(source("archive", path=whole))
    assert listing.classes == ("a", "b") and not listing.lost
    assert listing.splits.tolist() == [listing.ids[i].split("/")[0] for i in range(6)]
    assert listing.splits.tolist().count("train") == 4 and set(listing.splits) == {"train", other}
    assert len(listing.notes) == 1 and "inside the archive are the split (" in listing.notes[0]
    seeds = [int(one.rpartition("/")[2][:-4]) for one in listing.ids]
    assert list(listing.fetch(np.arange(6))) == [png(i) for i in seeds]
    merged = sources.listing(source("archive", path=whole, layout="**/{label}/*"))
    assert merged.splits is None and len(merged) == 6
    packed(tmp_path / outer, members | {f"more.{inner[0].partition('.')[2]}": members[inner[0]]})
    with pytest.raises(UserError, match=r"some archives are a split by their names, and more"):
        sources.listing(source("archive", path=tmp_path / outer))


def test_zips_of_classes_in_folders_of_a_split(tmp_path: Path) -> None:
    """In an archive, and in one that is a split itself."""
    zips = {
        name: packed(tmp_path / "one.zip", {f"{i}.png": png(i)}).read_bytes()
        for i, name in enumerate(f"{split}/{c}.zip" for split in ("train", "test") for c in "ab")
    }
    listing = sources.listing(source("archive", path=packed(tmp_path / "x.zip", zips)))
    ids = ["test/a/2.png", "test/b/3.png", "train/a/0.png", "train/b/1.png"]
    assert sorted(listing.ids) == ids
    paths = [
        packed(tmp_path / f"{s}.zip", {k.split("/")[1]: v for k, v in zips.items() if s in k})
        for s in ("train", "test")
    ]
    assert sorted(sources.listing(source("archive", path=paths)).ids) == ids


def test_shards_inside_an_archive_are_no_classes(tmp_path: Path) -> None:
    shards = {f"{i}.tar": packed(tmp_path / "x.tar", {"7.png": png(i), "7.cls": b"1"}).read_bytes() for i in range(2)}
    with pytest.raises(UserError, match=r"0\.tar in the archive .* is a shard of WebDataset"):
        sources.listing(source("archive", path=packed(tmp_path / "x.zip", shards)))


@pytest.mark.parametrize("top", ["", "x/"])
def test_a_table_in_an_archive_that_is_a_split_is_compared(tmp_path: Path, top: str) -> None:
    """Its paths begin at the top of its own archive; a table that agrees with the folders is none to stop for."""
    paths = []
    for split, n in (("train", 12), ("test", 8)):
        names = [f"{top}part_{1 + i % 2}/{i}.png" for i in range(n)]
        rows = "path,dx\n" + "".join(f"{name},{'ab'[i // 4 % 2]}\n" for i, name in enumerate(names))
        paths.append(packed_table(tmp_path / f"{split}.zip", names, f"{split}.csv", rows))
    with pytest.raises(UserError, match=r"the table (train/train|test/test)\.csv in .*'path', and"):
        sources.listing(source("archive", path=paths))
    both = packed(tmp_path / "all.zip", {path.name: path.read_bytes() for path in paths})
    with pytest.raises(UserError, match=r"the table (train/train|test/test)\.csv in .*'path', and"):
        sources.listing(source("archive", path=both))
    for path in paths:
        names = [f"{top}{'ab'[i % 2]}/{i}.png" for i in range(8)]
        rows = "path,dx\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
        packed_table(path, names, "labels.csv", rows)
    assert len(sources.listing(source("archive", path=paths))) == 16


@pytest.mark.parametrize("cut", [40, 200])
def test_a_zip_of_zips_that_is_cut_off_is_not_its_first_part(tmp_path: Path, cut: int) -> None:
    """The end of the zip inside is taken for its end: the rest would be missing without a word."""
    inner = {}
    for i, name in enumerate(("train.zip", "test.zip")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as part:
            for j, label in enumerate("aabb"):
                part.writestr(f"{label}/{j}.png", png(10 * i + j))
        inner[name] = stream.getvalue()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as whole:
        for name, data in inner.items():
            whole.writestr(name, data)
    assert len(sources.listing(source("archive", path=tmp_path / "set.zip"))) == 8
    data = (tmp_path / "set.zip").read_bytes()
    end = data.index(inner["train.zip"]) + len(inner["train.zip"])
    (tmp_path / "cut.zip").write_bytes(data[: end + cut])
    with pytest.raises(UserError, match="it is cut off"):
        sources.listing(source("archive", path=tmp_path / "cut.zip"))
    (tmp_path / "run.zip").write_bytes(b"#!/bin/sh\n" + inner["train.zip"])  # a program before a zip is no such
    assert len(sources.listing(source("archive", path=tmp_path / "run.zip"))) == 4


def test_an_archive_with_a_layout_keeps_its_folders(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics" / "train", 3, ("cat", "dog")).parent
    for layout in ("train/{label}/*", "{split}/{label}/*"):
        assert listed_as(root, True, layout=layout).counts() == {"cat": 3, "dog": 3}
    for c in ("cat", "dog"):
        save(root / "stain2" / "train" / c / "000.png", noise(9))
    assert len(listed_as(root, True, layout="**/{label}/*")) == 8


def zipped(root: Path, target: Path, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, f"{top}{path.relative_to(root)}")
    return target


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_an_archive_is_read_in_place(tmp_path: Path, suffix: str) -> None:
    root = folders(tmp_path / "pics", 5)
    target = tmp_path / f"x{suffix}"
    if suffix == ".zip":
        zipped(root, target, "wrapped/")
    else:
        with tarfile.open(target, f"w:{suffix[5:]}") as archive:
            archive.add(root, "wrapped")
    taken = came("archive", tmp_path, path=target)
    assert taken.listing.counts() == {"a": 5, "b": 5} and not taken.bad
    plain = came("folder", tmp_path / "plain", path=root)
    assert sorted(taken.ids) == sorted(plain.ids)
    assert taken.fingerprint() == plain.fingerprint()
    by_id = dict(zip(plain.ids, plain.images, strict=True))
    assert all(np.array_equal(by_id[i], x) for i, x in zip(taken.ids, taken.images, strict=True))
    assert {p.name for p in tmp_path.iterdir()} == {"pics", "plain", "taken", target.name}


def test_several_archives_and_zips_inside_a_zip(tmp_path: Path) -> None:
    one = zipped(folders(tmp_path / "1", 3, ("a",)), tmp_path / "one.zip", "data/x/")
    two = zipped(folders(tmp_path / "2", 2, ("b",)), tmp_path / "two.zip", "data/x/")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(one, "deep/one.zip")
        archive.write(two, "deep/two.zip")
    assert came("archive", tmp_path / "o", path=outer).listing.counts() == {"a": 3, "b": 2}
    both = source("archive", path=[one, two])
    assert sources.listing(both).counts() == {"a": 3, "b": 2}


def test_a_picture_packed_into_two_archives_is_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 4)
    one = zipped(root, tmp_path / "one.zip", "data/")
    save(root / "a" / "000.png", noise(777))  # the same name, another picture
    two = zipped(root, tmp_path / "two.zip", "data/")
    taken = came("archive", tmp_path, path=[one, two])
    assert taken.listing.counts() == {"a": 5, "b": 4} and "a/000~2.png" in taken.ids
    assert taken.notes == (
        "the class folders are read from data, the only folder",
        "7 pictures packed into several archives, taken once",
    )


def test_a_zip_that_holds_something_else_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="has none"):
        sources.listing(source("archive", path=tmp_path / "x.zip"))
    (tmp_path / "y.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cannot read the archive .*y\.zip: File is not a zip file"):
        sources.listing(source("archive", path=tmp_path / "y.zip"))


def test_a_name_that_stands_twice_in_a_zip_is_not_lost(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "PNG")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a/0.png", "b/0.png", "a/0.png"):
            archive.writestr(name, buffer.getvalue())
    taken = came("archive", tmp_path, path=tmp_path / "x.zip")
    assert why(taken) == {"a/0.png": "duplicate name in the archive"}
