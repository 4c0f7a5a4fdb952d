from __future__ import annotations

import io
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import came, photographs, save
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from augpipe.data import duplicates
from augpipe.data.duplicates import equal_groups, near_groups, perceptual_hashes


def thumb(picture: Image.Image, side: int = 32) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BOX))


def groups(pictures: list[Image.Image]) -> np.ndarray:
    thumbs = np.stack([thumb(p) for p in pictures])
    small = np.stack([thumb(p, 16) for p in pictures])
    return near_groups(np.arange(len(pictures)), perceptual_hashes(thumbs), small)


def test_the_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    thumbs = np.random.default_rng(0).integers(0, 255, (5, 32, 32), dtype=np.uint8)
    for one, found in zip(thumbs, perceptual_hashes(thumbs), strict=True):
        low = dctn(one.astype(float))[:8, :8].ravel()
        bits = "".join("1" if v > np.median(low) else "0" for v in low)
        assert int(found) == int(bits, 2)


@pytest.mark.parametrize(("change", "least"), [("jpeg", 0.9), ("smaller", 0.9), ("brighter", 0.9), ("border", 0.75)])
def test_altered_copies_of_photographs_are_found_and_nothing_else(change: str, least: float) -> None:
    """Of 24 pieces, of which one is a nearly even sky."""
    pictures = photographs()
    n = len(pictures)
    for picture in pictures[:n]:
        if change == "jpeg":
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=40)
            copy: Image.Image = Image.open(buffer)
        elif change == "smaller":
            copy = picture.resize((90, 90), Image.Resampling.LANCZOS)
        elif change == "brighter":
            copy = ImageEnhance.Brightness(ImageEnhance.Contrast(picture).enhance(0.9)).enhance(1.05)
        else:
            copy = picture.crop((1, 1, 139, 139))
        pictures.append(copy)
    found = groups(pictures)
    assert len(set(found[:n].tolist())) == n  # the originals stay apart
    assert (found[n:] == found[:n]).sum() >= least * n
    wrong = [row for row in range(n) if found[n + row] in set(found[:n]) - {found[row]}]
    assert not wrong


def test_flat_pictures_are_near_only_where_they_are_alike() -> None:
    flat = [Image.new("L", (40, 40), v) for v in (10, 12, 240)]
    half = Image.new("L", (40, 40))
    half.paste(255, (0, 0, 20, 40))
    found = groups([*flat, half])
    assert found[0] == found[1] and len({found[0], found[2], found[3]}) == 3


def test_one_shape_in_two_colours_is_two_pictures(tmp_path: Path) -> None:
    for i, colour in enumerate(((200, 20, 20), (20, 128, 20), (190, 22, 22))):
        picture = Image.new("RGB", (40, 40))
        picture.paste(colour, (5, 8, 30, 22))
        save(tmp_path / "pics" / "ab"[i % 2] / f"{i}.png", np.asarray(picture))
    found = came("folder", tmp_path, path=tmp_path / "pics")
    facts = found.facts
    joined = near_groups(equal_groups(facts.content), facts.hashes, facts.thumbs, facts.tints)
    by_id = dict(zip(found.ids, joined.tolist(), strict=True))
    assert by_id["a/0.png"] == by_id["a/2.png"] != by_id["b/1.png"]


hashes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(hashes, st.data())
def test_candidates_are_all_pairs_within_the_bits(values: list[int], data: st.DataObject) -> None:
    """Against every pair compared: some differ in few bits by construction."""
    for _ in range(10):
        near = data.draw(st.sampled_from(values))
        for bit in data.draw(st.lists(st.integers(0, 63), max_size=5)):
            near ^= 1 << bit
        values.append(near)
    own = np.array(values, np.uint64)
    found = {tuple(sorted(map(int, pair))) for block in duplicates._candidates(own) for pair in block}
    true = {
        (i, j)
        for i, j in itertools.combinations(range(len(values)), 2)
        if (values[i] ^ values[j]).bit_count() <= duplicates.BITS
    }
    assert found == true


def test_equal_groups_are_those_of_equal_bytes() -> None:
    contents = np.array([b"a" * 16, b"b" * 15 + b"\0", b"a" * 16, b"b" * 16], "V16")
    found = equal_groups(contents)
    assert found[0] == found[2] and len(set(found.tolist())) == 3


def test_thousands_of_frames_that_are_nearly_one_take_seconds() -> None:
    """As of a video: every pair is near; none is compared once it is known to be joined."""
    rng = np.random.default_rng(0)
    scene = np.asarray(photographs()[3].convert("L").resize((32, 32)), np.int16)
    frames = np.clip(scene + rng.integers(-3, 4, (8000, 32, 32)), 0, 255).astype(np.uint8)
    small = frames.reshape(-1, 16, 2, 16, 2).mean((2, 4)).astype(np.uint8)
    begun = time.perf_counter()
    found = near_groups(np.arange(8000), perceptual_hashes(frames), small)
    assert np.bincount(found).max() > 7900 and time.perf_counter() - begun < 30


def test_a_hundred_thousand_images_take_seconds() -> None:
    """Twenty times as many, not four hundred times as long: no matrix of all pairs."""
    rng = np.random.default_rng(0)
    seconds = []
    for n in (5_000, 100_000):
        own = rng.integers(0, 2**63, n, dtype=np.uint64)
        thumbs = rng.integers(0, 255, (n, 16, 16), dtype=np.uint8)
        begun = time.perf_counter()
        near_groups(np.arange(n), own, thumbs)
        seconds.append(time.perf_counter() - begun)
    assert seconds[1] < 100 * max(seconds[0], 0.01)
