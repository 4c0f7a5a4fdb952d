"""What becomes of each mode and format, against values worked out by hand; DICOM against pydicom's own functions."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pictures import came, dicom, folders, noise, png, save, source, why
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import DeflatedExplicitVRLittleEndian

from augpipe.core.errors import PictureError, UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.options import Policy
from augpipe.data.sources._dicom import windowed
from augpipe.data.sources._pictures import decode, fit, quiet


def decoded(data: bytes, window: object = None) -> np.ndarray:
    return np.asarray(decode(data, window).pixels)


def file(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "lossless"),
    [("PNG", True), ("BMP", True), ("TIFF", True), ("PPM", True), ("WEBP", True), ("JPEG", False), ("GIF", True)],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(kind: str, lossless: bool, mode: str) -> None:
    rows = np.add.outer(np.arange(24) * 5, np.arange(32) * 3).astype(np.uint8)
    pixels = rows if mode == "L" else np.stack([rows, rows[::-1], 255 - rows], 2)
    if kind == "GIF" and mode == "RGB":
        pytest.skip("a GIF has 256 colours")
    found = decoded(file(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {})))
    if kind == "WEBP" and mode == "L":
        found = found[:, :, 0]
    if kind == "GIF":
        found = found[..., 0] if found.ndim == 3 else found
    # JPEG halves the resolution of colour.
    assert np.abs(found.astype(int) - pixels).max() <= (0 if lossless else 40)
    assert np.abs(found.astype(int) - pixels).mean() <= (0 if lossless else 4)


def test_modes() -> None:
    one = decoded(file(Image.fromarray(noise(0) > 127), "PNG"))
    assert set(np.unique(one)) == {0, 255} and np.array_equal(one > 0, noise(0) > 127)
    colours = Image.fromarray(noise(0, 16, 16, 3)).quantize(16)
    assert np.array_equal(decoded(file(colours, "PNG")), np.asarray(colours.convert("RGB")))
    ink = Image.fromarray(noise(1, 16, 16, 4), "CMYK")
    assert decoded(file(ink, "TIFF")).shape == (16, 16, 3)
    white = decoded(file(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "TIFF"))
    assert white.min() == 255
    ycc = Image.fromarray(noise(1, 16, 16, 3)).convert("YCbCr")
    assert np.abs(decoded(file(ycc, "TIFF")).astype(int) - np.asarray(ycc.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_black_whatever_lies_under_them(mode: str) -> None:
    alpha = np.zeros((4, 4), np.uint8)
    alpha[:2] = 255
    alpha[2] = 128
    value = np.full((4, 4), 200, np.uint8)
    planes = [value] * (3 if mode == "RGBA" else 1) + [alpha]
    found = decoded(file(Image.fromarray(np.stack(planes, 2), mode), "PNG"))
    found = found if found.ndim == 2 else found[:, :, 0]
    assert (found[:2] == 200).all() and (found[3] == 0).all()
    assert np.abs(found[2].astype(int) - 100).max() <= 1
    palette = Image.fromarray(noise(0, 8, 8, 3)).quantize(4)
    data = file(palette, "PNG", transparency=0)
    hidden = np.asarray(palette) == 0
    assert (decoded(data)[hidden] == 0).all()


def grey16(values: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, 0, rows)


def test_sixteen_bits_go_through_the_window_that_was_asked_for() -> None:
    values = np.array([[0, 100, 1000], [4095, 40000, 65535]])
    assert decoded(grey16(values), (0, 4095)).tolist() == [[0, 6, 62], [255, 255, 255]]
    assert decoded(grey16(values), "full").tolist() == [[0, 0, 4], [16, 156, 255]]
    assert decoded(grey16(values), (1000, 41000)).tolist() == [[0, 0, 0], [20, 249, 255]]
    pgm = b"P5 3 1 65535\n" + np.array([0, 4095, 65535], ">u2").tobytes()
    assert decoded(pgm, "full").tolist() == [[0, 16, 255]]
    for kind in (np.int32, np.float32):
        data = file(Image.fromarray(values.astype(kind)), "TIFF")
        assert decoded(data, (0, 4095)).tolist() == [[0, 6, 62], [255, 255, 255]]
    for data in (grey16(values), pgm, file(Image.fromarray(values.astype(np.float32)), "TIFF")):
        with pytest.raises(PictureError, match=r"need a window: set image\.window"):
            decode(data, None)


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
def test_pictures_that_are_not_square(resize: str, shape: tuple[int, int]) -> None:
    pixels = np.zeros(shape, np.uint8)
    long = slice(10, 30)
    pixels[(slice(None), long) if shape[1] == 40 else (long, slice(None))] = 255
    image = fit(Image.fromarray(pixels), ImageSpec(20, 1), resize)
    # Half of the picture is lit; fitted it loses half of its area to borders, cropped nothing is dark.
    lit = {"stretch": 0.5, "fit": 0.25, "crop": 1.0}[resize]
    assert image.shape == (1, 20, 20) and (image > 127).mean() == pytest.approx(lit, abs=0.02)


def test_grey_and_colour_as_asked(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 5)
    save(root / "a" / "colour.png", noise(7, 16, 16, 3))
    assert came("folder", tmp_path / "1", path=root).images.shape[1] == 3
    assert came("folder", tmp_path / "2", ImageOptions(channels=1), path=root).images.shape[1] == 1
    grey = folders(tmp_path / "grey", 3)
    for path in grey.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)  # as X-rays are often stored
    assert came("folder", tmp_path / "3", path=grey).images.shape[1] == 1


# DICOM


def test_a_deflated_file_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from augpipe.data.sources import _dicom

    values = np.zeros((200, 200), np.uint8)
    data = pydicom.dcmread(dicom(tmp_path / "a" / "x.dcm", values))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "a" / "x.dcm")
    packed = (tmp_path / "a" / "x.dcm").read_bytes()
    assert len(packed) < 2000 and decoded(packed).tolist() == values.tolist()
    dicom(tmp_path / "b" / "y.dcm", values)
    monkeypatch.setattr(_dicom, "INFLATED", 30_000)
    with pytest.raises(PictureError, match="more than 30,000 bytes inflated, a decompression bomb"):
        decode(packed, None)
    groups = sources.listing(source("dicom", path=tmp_path)).groups
    (tmp_path / "a" / "x.dcm").write_bytes(packed[:-40])
    with pytest.raises(PictureError, match="the deflated data end too early"):
        decode(packed[:-40], None)
    assert sources.listing(source("dicom", path=tmp_path)).groups.tolist() == groups.tolist()
    assert groups.tolist() == ["a/x.dcm", "p"]  # its header is not inflated either


def test_more_pixels_than_the_header_says(tmp_path: Path) -> None:
    data = pydicom.dcmread(dicom(tmp_path / "x.dcm", np.arange(6, dtype=np.uint8).reshape(2, 3)))
    expected = decoded((tmp_path / "x.dcm").read_bytes())
    data.PixelData = bytes(data.PixelData) + b"\0\0\0\0"  # padding
    data.save_as(tmp_path / "x.dcm")
    with quiet():
        assert np.array_equal(decoded((tmp_path / "x.dcm").read_bytes()), expected)
    data.PixelData = bytes(6000)
    data.save_as(tmp_path / "x.dcm")
    with pytest.raises(PictureError, match=r"6,000 bytes of pixels; one frame of this size has 6$"):
        decode((tmp_path / "x.dcm").read_bytes(), None)


def test_slope_window_and_interpretation(tmp_path: Path) -> None:
    values = np.array([[0, 864, 1064], [1264, 2000, 4000]], np.uint16)  # Hounsfield: less 1024
    told = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    path = dicom(tmp_path / "x.dcm", values, **told)
    found = decoded(path.read_bytes())
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) of the range.
    assert found.tolist() == [[0, 0, 128], [255, 255, 255]]
    inverted = dicom(tmp_path / "y.dcm", values, PhotometricInterpretation="MONOCHROME1", **told)
    assert np.array_equal(decoded(inverted.read_bytes()), 255 - found)
    mine = decoded(path.read_bytes(), (-1024, 976))
    assert mine.tolist() == [[0, 110, 136], [161, 255, 255]]
    full = decoded(path.read_bytes(), "full")
    assert full.tolist() == [[0, 3, 4], [5, 8, 16]]
    several = dicom(tmp_path / "z.dcm", values, **{**told, "WindowCenter": [40, 0], "WindowWidth": [400, 9]})
    assert np.array_equal(decoded(several.read_bytes()), found)
    without = dicom(tmp_path / "w.dcm", values)
    with pytest.raises(PictureError, match=r"values from 0 to 4000 without a window in the file"):
        decode(without.read_bytes(), None)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(600, 1600), (40, 400), (1000, 2)])
def test_windows_against_pydicoms(function: str, center: float, width: float) -> None:
    data = pydicom.Dataset()
    data.WindowCenter, data.WindowWidth, data.VOILUTFunction = center, width, function
    data.BitsStored, data.PixelRepresentation = 12, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    values = np.arange(0, 4096, 7)
    with np.errstate(over="ignore"):
        theirs = apply_windowing(values, data) / 4095
    assert windowed(values.astype(float), center, width, function) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "examples_palette.dcm"])
def test_pydicoms_own_files(name: str) -> None:
    """Real scans that ship with pydicom, against its own functions."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom has no {name}")
    data = pydicom.dcmread(path)
    blob = Path(path).read_bytes()
    if data.PhotometricInterpretation.startswith("MONOCHROME"):
        values = apply_modality_lut(data.pixel_array, data)
        low, high = float(values.min()), float(values.max())
        ours = decoded(blob, (low, high))
        assert np.abs(ours - (values - low) * 255 / (high - low)).max() <= 0.5
        if data.get("WindowCenter") is None:
            with pytest.raises(PictureError, match="without a window"):
                decode(blob, None)
    elif data.PhotometricInterpretation == "RGB":
        assert np.array_equal(decoded(blob), data.pixel_array)
    else:
        from pydicom.pixels import apply_color_lut

        theirs = apply_color_lut(data.pixel_array, data)
        assert theirs.dtype == np.uint16 and not (theirs & 0xFF).any()  # 8 bits in the upper byte
        assert np.array_equal(decoded(blob), theirs >> 8)


def test_colour_of_more_than_eight_bits_and_tables(tmp_path: Path) -> None:
    deep = np.array([[[0, 2048, 4095], [1, 16, 4095]]], np.uint16)
    path = dicom(tmp_path / "x.dcm", deep, BitsStored=12, HighBit=11)
    with pytest.raises(PictureError, match=r"12 bits per channel need image\.window: full"):
        decode(path.read_bytes(), None)
    assert decoded(path.read_bytes(), "full").tolist() == [[[0, 128, 255], [0, 1, 255]]]
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [4, 10, 8], [0, 50, 100, 255]
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    values = np.array([[0, 10, 11, 12, 13, 4000]], np.uint16)
    path = dicom(tmp_path / "y.dcm", values, BitsStored=12, HighBit=11, VOILUTSequence=[item])
    assert decoded(path.read_bytes()).tolist() == [[0, 0, 50, 100, 255, 255]]


def test_a_dicom_bomb_and_a_broken_file(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", noise(0), Rows=30_000, Columns=30_000)
    with pytest.raises(PictureError, match="30000x30000 pixels, more than"):
        decode(path.read_bytes(), None)
    whole = dicom(tmp_path / "y.dcm", noise(0)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        hurt = bytearray(whole)
        for at in rng.integers(132, len(hurt), 4):
            hurt[at] = rng.integers(0, 256)
        try:
            decode(bytes(hurt), "full")
        except PictureError as error:
            assert str(error)


def test_windows_of_pnm_mean_the_values_in_the_file() -> None:
    pgm = b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()
    for window in ((0, 4095), "full"):
        assert decoded(pgm, window).tolist() == [[0, 128, 255]]
    with pytest.raises(PictureError, match="values from 0 to 4095"):
        decode(pgm, None)
    ppm = b"P6 1 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()
    with pytest.raises(PictureError, match="16 bits per channel need"):
        decode(ppm, None)
    assert np.abs(decoded(ppm, "full").astype(int) - [[[0, 128, 255]]]).max() <= 1


def test_broken_exif_is_noted_whatever_the_threads(tmp_path: Path, monkeypatch) -> None:
    from augpipe.data import intake

    monkeypatch.setattr(intake, "cores", lambda: 4)
    exif = b"Exif\0\0MM\x00\x2a\xff\xff\xff\xff garbage"
    for i in range(24):
        save(tmp_path / "pics" / "a" / f"{i}.jpg", noise(i, 150, 150), exif=exif)
        dicom(tmp_path / "pics" / "b" / f"{i}.dcm", noise(100 + i, 150, 150))
        save(tmp_path / "pics" / "b" / f"{i}.png", noise(200 + i, 150, 150))
    taken = came("folder", tmp_path, path=tmp_path / "pics")
    assert "24 pictures: unreadable EXIF; orientation ignored" in taken.notes and len(taken.notes) == 2


@pytest.mark.parametrize(("order", "head"), [("<", b"II*\0"), (">", b"MM\0*")])
@pytest.mark.parametrize(("length", "cut"), [(26, False), (22, False), (21, True), (9, True)])
def test_only_exif_cut_before_its_first_directory_ends_is_noted(
    tmp_path: Path, order: str, head: bytes, length: int, cut: bool
) -> None:
    """Orientation 6 turns a picture by 90 degrees. After 22 bytes only the address of the next directory follows."""
    exif = head + struct.pack(f"{order}LHHHLHHL", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    path = save(tmp_path / "x.jpg", noise(0, 8, 16), exif=b"Exif\0\0" + exif[:length])
    with quiet():
        found = decode(path.read_bytes(), None)
    assert found.notes == (("unreadable EXIF; orientation ignored",) if cut else ())
    assert found.pixels.size == ((16, 8) if cut else (8, 16))


def test_eight_bits_need_no_window_and_frames_are_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", noise(0))
    assert np.array_equal(decoded(path.read_bytes()), noise(0))
    many = dicom(tmp_path / "y.dcm", noise(0), NumberOfFrames=2)
    with pytest.raises(PictureError, match="a DICOM file of 2 frames"):
        decode(many.read_bytes(), None)


def test_a_window_that_clips_most_of_a_picture_is_noted(tmp_path: Path) -> None:
    """As one of other pictures does; the values below and above it are all black and white."""
    for i in range(4):
        deep = noise(i).astype(np.uint16) * 200 + 600
        (tmp_path / "p" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(deep).save(tmp_path / "p" / "ab"[i % 2] / f"{i}.png")
    for window, noted in (((0, 100), True), ((600, 51600), False), ("full", False)):
        taken = came("folder", tmp_path / str(window), ImageOptions(window=window), path=tmp_path / "p")
        assert any(note.startswith("4 pictures: with most values outside") for note in taken.notes) == noted
    np.savez(tmp_path / "x.npz", images=np.full((4, 8, 8), 900, np.uint16), labels=[0, 0, 1, 1])
    taken = came("arrays", tmp_path / "x", ImageOptions(window=(0, 100)), path=tmp_path / "x.npz")
    assert any("with most values outside" in note for note in taken.notes)


def test_a_window_that_changes_no_picture_is_refused(tmp_path: Path) -> None:
    """Some of 8 bits are counted; a set of them alone stops a run."""
    root = folders(tmp_path / "pics", 2)
    window = ImageOptions(window=(0, 4095))
    with pytest.raises(UserError, match=r"image\.window \[0\.0, 4095\.0\] has no effect: every pi"):
        came("folder", tmp_path, window, Policy(), path=root)
    Image.fromarray(noise(9).astype(np.uint16) * 16).save(root / "a" / "deep.png")
    taken = came("folder", tmp_path / "2", window, Policy(), path=root)
    assert "4 pictures: of 8 bits, which image.window does not change" in taken.notes
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8), np.uint8), labels=[0, 0, 1, 1])
    with pytest.raises(UserError, match=r"image\.window full has no effect"):
        came("arrays", tmp_path / "3", ImageOptions(window="full"), Policy(), path=tmp_path / "x.npz")


def test_a_folder_of_dicom_is_grouped_by_patient(tmp_path: Path) -> None:
    root = tmp_path / "data" / "scans"
    for c in ("ill", "well"):
        for i in range(24):
            name = f"{i}.dcm" if i % 2 else f"IM{i}"  # scanners often give no suffix
            dicom(root / c / name, noise(i + 100 * ord(c[0])), patient=f"{c}{i // 4}")
    (root / "ill" / "notes.txt").write_text("x")
    (root / "ill" / "broken.dcm").write_bytes(b"x" * 200)
    taken = came("dicom", tmp_path, path=root)
    assert len(taken.rows) == 48 and set(taken.groups) == {f"{c}{i}" for c in ("ill", "well") for i in range(6)}
    assert list(why(taken)) == ["ill/broken.dcm"] and taken.listing.ignored == {"no DICOM": 1}
    assert set(taken.facts.format) == {"DICOM"} and taken.facts.mode[0] == "MONOCHROME2 8 bits"
    assert sources.suggest(root)["kind"] == "dicom"
    around = sources.listing(source("dicom", path=root.parent))
    assert around.ids == taken.listing.ids and set(around.groups) >= set(taken.groups)
    assert "the class folders are read from scans, the only folder" in around.notes
    by_study = sources.listing(source("dicom", path=root, group="StudyInstanceUID"))
    assert any("without StudyInstanceUID" in note for note in by_study.notes)


def test_dicom_in_a_folder_of_pictures_and_in_a_manifest(tmp_path: Path) -> None:
    rows = ["path,label"]
    for i in range(10):
        dicom(tmp_path / "img" / f"{i}.dcm", noise(i))
        rows.append(f"img/{i}.dcm,{'ab'[i % 2]}")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    taken = came("manifest", tmp_path, path=tmp_path / "m.csv")
    assert len(taken.rows) == 10 and np.array_equal(taken.images[3, 0], noise(3))


@pytest.mark.parametrize("implicit", [False, True])
def test_dicom_files_without_a_preamble(tmp_path: Path, implicit: bool) -> None:
    """As some scanners and archives write them, with any name; patients are read from them too."""
    for c in "ab":
        for i in range(3):
            path = dicom(tmp_path / "scans" / c / f"{i}.dcm", noise(10 * ord(c) + i), patient=f"{c}{i // 2}")
            data = pydicom.dcmread(path)
            data.SOPClassUID, data.SOPInstanceUID = ("1.2.840.10008.5.1.4.1.1.7", f"1.2.3.{ord(c)}.{i}")
            path.unlink()
            bare = pydicom.Dataset(data)
            bare.save_as(path.with_suffix(""), enforce_file_format=False, implicit_vr=implicit, little_endian=True)
            assert path.with_suffix("").read_bytes()[128:132] != b"DICM"
    taken = came("dicom", tmp_path, path=tmp_path / "scans", group="PatientID")
    assert not taken.bad and len(taken.images) == 6
    assert np.array_equal(taken.images[0, 0], noise(10 * ord("a")))
    assert sorted(set(taken.groups)) == ["a0", "a1", "b0", "b1"] and not taken.listing.notes


def test_compressed_dicom_without_a_decoder_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dicom(tmp_path / "x.dcm", np.zeros((4, 4), np.uint8))
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})  # also where one is installed
    with pytest.raises(
        PictureError,
        match=r"^compressed \(JPEG-LS Lossless Image Compression\), and no decoder is installed: pip install pylibjpeg",
    ):
        decoded(path)
