"""Similarity of the images of a class: SSIM and LPIPS."""

from __future__ import annotations

import math
from pathlib import Path

import apart
import numpy as np
import pytest
import torch
from embeddings import embedded, gauss
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torchvision.models import alexnet

from augpipe.core.home import weights_folder
from augpipe.synthetic import fidelity
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, pixels
from augpipe.synthetic.fidelity.base import RefusedError
from augpipe.synthetic.options import LPIPS_WEIGHTS


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(0, 5))
def test_pairs_are_two_images_of_one_class(drawn: list[int], seed: int) -> None:
    labels = np.array(drawn, np.int64)
    images = embedded(gauss(len(labels), 2), labels, classes=5)
    counts = np.bincount(labels)
    rng = np.random.default_rng(seed)
    if counts.max() < 2:
        with pytest.raises(RefusedError, match="two images of a class"):
            pixels.pairs(images, rng)
        return
    one, other = pixels.pairs(images, rng)
    assert len(one) == len(other) == pixels.PAIRS
    assert (labels[one] == labels[other]).all() and (one != other).all()


def test_every_pair_of_a_class_comes_up() -> None:
    images = embedded(gauss(7, 2), np.array([0, 1, 0, 1, 0, 0, 0]))
    rng = np.random.default_rng(0)
    seen = {tuple(p) for _ in range(5) for p in pixels.pairs(images, rng).T.tolist()}
    of_class = {0: [0, 2, 4, 5, 6], 1: [1, 3]}
    assert seen == {(a, b) for own in of_class.values() for a in own for b in own if a != b}


def pictures(n: int, side: int, channels: int = 1, seed: int = 0) -> Embedded:
    """Blurred noise, so that pictures are alike to a degree."""
    noise = np.random.default_rng(seed).normal(size=(n, channels, side, side))
    smooth = gaussian_filter(noise, (0, 0, 2, 2))
    images = (128 + 200 * smooth).clip(0, 255).astype(np.uint8)
    return embedded(gauss(n, 3, seed=seed), images=images)


def test_ssim_is_its_definition() -> None:
    """Wang et al. 2004, eq. 13, windows of 11 pixels and deviation 1.5 inside the image;
    a class of two has one pair.
    """
    c = Compared(pictures(2, 24), pictures(2, 24, seed=1))

    def similarity(x: np.ndarray, y: np.ndarray) -> float:
        def mean(z: np.ndarray) -> np.ndarray:
            return gaussian_filter(z, 1.5, mode="mirror", truncate=3.34)

        x, y = x.astype(float), y.astype(float)
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        mx, my = mean(x), mean(y)
        vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        top = (2 * mx * my + c1) * (2 * vxy + c2)
        inside = slice(5, -5)
        return float((top / ((mx**2 + my**2 + c1) * (vx + vy + c2)))[inside, inside].mean())

    found = pixels.ssim(c)
    assert found["ssim"] == pytest.approx(similarity(*c.synthetic.images[:, 0]), abs=1e-4)
    assert found["ssim_real"] == pytest.approx(similarity(*c.real.images[:, 0]), abs=1e-4)


def test_black_borders_are_no_similarity() -> None:
    """Two pictures with a border of 6 pixels: it counts only in windows inside the picture."""
    a, b = (p.images[:, 0, 6:-6, 6:-6] for p in (pictures(1, 30), pictures(1, 30, seed=1)))
    framed = [np.pad(x[:, None], ((0, 0), (0, 0), (6, 6), (6, 6))) for x in (a, b)]
    found = pixels.similarity(*(torch.from_numpy(x).float() for x in framed))
    _, whole = structural_similarity(
        framed[0][0, 0],
        framed[1][0, 0],
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert float(found) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-4)
    assert float(found) < whole.mean() - 0.1


def test_one_picture_over_and_over_has_ssim_one() -> None:
    real, same = pictures(8, 16), pictures(8, 16)
    same.images[:] = same.images[0]
    found = pixels.ssim(Compared(real, same))
    assert found["ssim"] == pytest.approx(1, abs=1e-5)
    assert found["ssim_real"] < 0.9


def test_similarity_of_small_images_is_refused_with_a_word() -> None:
    with pytest.raises(RefusedError, match="needs images of 11 px; these have 10"):
        pixels.ssim(Compared(pictures(6, 10), pictures(6, 10)))
    with pytest.raises(RefusedError, match="needs images of 161 px; these have 64"):
        pixels.ms_ssim(Compared(pictures(6, 64), pictures(6, 64)))
    assert set(pixels.ssim(Compared(pictures(6, 11), pictures(6, 11)))) == {"ssim", "ssim_real"}


def test_multiscale_similarity_is_given_for_large_images(monkeypatch) -> None:
    monkeypatch.setattr(pixels, "PAIRS", 20)
    real, same = pictures(4, 176), pictures(4, 176)
    same.images[:] = same.images[0]
    found = pixels.ms_ssim(Compared(real, same))
    assert found["ms_ssim"] == pytest.approx(1, abs=1e-5)
    assert 0 < found["ms_ssim_real"] < 0.9


def test_pairs_of_larger_pictures_stand_in_little_memory() -> None:
    assert apart.growth(apart.larger_pairs, first=apart.small_pairs) < 600e6


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def an_alexnet(own_home: Path) -> None:
    """Random weights under the published name; those of the layers that LPIPS drops are one number."""
    torch.manual_seed(0)
    state = alexnet().state_dict()
    weights_folder().mkdir(parents=True)
    small = {
        name: torch.zeros(1).expand(value.shape) if name.startswith("classifier") else value
        for name, value in state.items()
    }
    torch.save(small, weights_folder() / LPIPS_WEIGHTS)


def test_lpips_without_weights_is_refused_with_their_place(own_home: Path) -> None:
    found = fidelity.figures(fidelity.metrics["lpips"], Compared(pictures(6, 64), pictures(6, 64)))
    for told in found.values():
        assert math.isnan(told.value)
        assert LPIPS_WEIGHTS in told.note and "AUGPIPE_HOME" in told.note
        assert str(own_home) not in told.note  # no path of a machine in a report


@pytest.mark.parametrize("spoilt", [b"", b"<html>", b"PK\x03\x04", b"\x80", b"\x80\x02l", "other", "folder"])
def test_lpips_of_a_spoilt_file_is_refused_with_a_word(own_home: Path, spoilt) -> None:
    path = weights_folder() / LPIPS_WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    if spoilt == "folder":
        path.mkdir()
    elif spoilt == "other":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(spoilt)
    before = torch.hub.get_dir()
    found = fidelity.figures(fidelity.metrics["lpips"], Compared(pictures(6, 64), pictures(6, 64)))
    assert all(math.isnan(told.value) and LPIPS_WEIGHTS in told.note for told in found.values())
    assert torch.hub.get_dir() == before


@pytest.mark.usefixtures("an_alexnet")
@pytest.mark.parametrize("channels", [1, 3])
def test_lpips_of_one_picture_over_and_over_is_nothing(channels: int) -> None:
    before = torch.hub.get_dir()
    real, same = pictures(5, 64, channels), pictures(5, 64, channels)
    same.images[:] = same.images[0]
    found = pixels.lpips(Compared(real, same))
    assert found["lpips"] == pytest.approx(0, abs=1e-6) and found["lpips_real"] > 1e-4
    assert torch.hub.get_dir() == before


@pytest.mark.usefixtures("an_alexnet")
@pytest.mark.parametrize("side", [16, 28, 32])
def test_lpips_of_images_of_any_size_is_a_figure_or_a_word(side: int) -> None:
    found = fidelity.figures(fidelity.metrics["lpips"], Compared(pictures(6, side), pictures(6, side)))
    assert all(math.isfinite(told.value) or told.note for told in found.values())
