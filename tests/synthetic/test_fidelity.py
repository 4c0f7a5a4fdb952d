"""Each metric against an independent reference or its definition in plain loops; the table they stand in."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import apart
import numpy as np
import prdc
import pytest
import torch
from embeddings import embedded, gauss, painted
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from skimage.metrics import structural_similarity
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import poly_mmd
from torchvision.models import alexnet

from augpipe.core.home import weights_folder
from augpipe.synthetic import fidelity
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, distances, exchange, from_classifiers, manifolds, pixels
from augpipe.synthetic.fidelity.base import NEIGHBOURS, Metric, Noted, RefusedError
from augpipe.synthetic.options import LPIPS_WEIGHTS


def double(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).double()


def sides(
    n: int, m: int, d: int = 6, shift: float = 0.4, scale: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Compared]:
    """Real vectors, synthetic vectors that are shifted, and both as they are compared."""
    x, y = gauss(n, d, seed=seed), gauss(m, d, shift, scale, seed=seed + 1)
    return x, y, Compared(embedded(x), embedded(y))


class Passes(torch.nn.Module):
    """torchmetrics' hook for features of one's own: hands them through."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


# FID


def test_fid_is_torchmetrics() -> None:
    x, y, c = sides(200, 150, shift=0.7, scale=1.4)
    theirs = FrechetInceptionDistance(feature=Passes(), normalize=True)
    theirs.set_dtype(torch.float64)
    theirs.update(double(x), real=True)
    theirs.update(double(y), real=False)
    assert distances.fid(c) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("d", [2, 6, 40])
def test_fid_is_torch_fidelitys(d: int) -> None:
    x, y, c = sides(120, 90, d, shift=0.3, scale=1.7)
    stats = [fid_features_to_statistics(double(v)) for v in (x, y)]
    expected = fid_statistics_to_metric(*stats, False)["frechet_inception_distance"]
    assert distances.fid(c) == pytest.approx(expected, rel=1e-6)


def test_fid_of_gaussians_is_its_closed_form() -> None:
    # |mu|² + sum (1 - s)² for N(0, I) against N(mu, s² I).
    x, y = gauss(60_000, 3), gauss(60_000, 3, 0.5, 2.0, seed=1)
    c = Compared(
        embedded(x, images=np.zeros((60_000, 1, 1, 1), np.uint8)),
        embedded(y, images=np.zeros((60_000, 1, 1, 1), np.uint8)),
    )
    assert distances.fid(c) == pytest.approx(3 * 0.25 + 3 * 1.0, rel=0.03)


def test_fid_survives_fewer_images_than_features() -> None:
    x = embedded(gauss(60, 200))
    assert distances.fid(Compared(x, x)) == pytest.approx(0, abs=1e-3)


# KID


def test_kid_is_torchmetrics() -> None:
    x, y, c = sides(80, 80)
    expected = float(poly_mmd(double(x), double(y), degree=3, gamma=None, coef=1.0))
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_is_torch_fidelitys() -> None:
    x, y, c = sides(90, 90, d=24)
    theirs = kid_features_to_metric(double(x), double(y), kid_subsets=1, kid_subset_size=90, verbose=False)
    expected = theirs["kernel_inception_distance_mean"]
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_of_unequal_sides_is_its_definition(monkeypatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", 7)
    x, y, c = sides(20, 13, d=5)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a.astype(np.float64) @ b.astype(np.float64)) / 5 + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    across = np.mean([k(a, b) for a in x for b in y])
    expected = within[0] + within[1] - 2 * across
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased() -> None:
    values = [
        fidelity.kid(embedded(gauss(30, 4, seed=2 * s)), embedded(gauss(30, 4, seed=2 * s + 1))) for s in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_kid_has_the_spread_of_kids_of_other_images() -> None:
    """Half of the images, drawn without return, vary about as all of them would."""
    found = [distances.kid_with_spread(sides(150, 150, seed=2 * s)[2]) for s in range(60)]
    spread = np.mean([f["kid_spread"] for f in found])
    assert spread == pytest.approx(np.std([f["kid"] for f in found], ddof=1), rel=0.4)


def test_class_kid_sees_swapped_classes() -> None:
    labels = np.repeat([0, 1], 30)
    real = embedded(np.concatenate([gauss(30, 4), gauss(30, 4, 5, seed=1)]), labels)
    good = embedded(np.concatenate([gauss(30, 4, seed=2), gauss(30, 4, 5, seed=3)]), labels)
    swapped = Embedded(good.vectors, good.probabilities, 1 - good.labels, good.images)
    assert fidelity.kid(real, swapped) == pytest.approx(fidelity.kid(real, good))
    assert fidelity.class_kid(real, swapped) > 100 * abs(fidelity.class_kid(real, good))


def test_a_class_with_one_real_image_still_orders_generators() -> None:
    one, many = np.repeat([0, 1], [1, 30]), np.repeat([0, 1], 20)
    real = embedded(np.concatenate([gauss(1, 4), gauss(30, 4, 5, seed=1)]), one)
    near = embedded(np.concatenate([gauss(20, 4, seed=2), gauss(20, 4, 5, seed=3)]), many)
    far = embedded(np.concatenate([gauss(20, 4, 9, seed=2), gauss(20, 4, 5, seed=3)]), many)
    assert fidelity.class_kid(real, near) < fidelity.class_kid(real, far)


# Sliced Wasserstein


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 20), (37, 53), (1, 30)])
def test_sliced_wasserstein_is_scipys_of_each_projection(monkeypatch, n: int, m: int) -> None:
    monkeypatch.setattr(distances, "BLOCK", 16)
    x, y, c = sides(n, m, d=3)
    directions = c.rng("directions").normal(size=(3, distances.PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    expected = [wasserstein_distance(x @ one, y @ one) for one in directions.T]
    assert distances.sliced_wasserstein(c) == pytest.approx(np.mean(expected), rel=1e-6)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection() -> None:
    """E|<u,e>| = 1/2 for a uniform direction u in three dimensions."""
    x = gauss(50, 3)
    c = Compared(embedded(x), embedded(x + np.array([8, 0, 0], np.float32)))
    assert distances.sliced_wasserstein(c) == pytest.approx(4, rel=0.1)


# What classifiers say


def test_agreement_is_the_share_that_is_confirmed() -> None:
    c = Compared(embedded(gauss(8, 3)), embedded(gauss(40, 3), wrong=0.25))
    assert from_classifiers.agreement(c) == 0.75


def drawn_probabilities(n: int, k: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(k, 0.4), n).astype(np.float32)


def seen_as(probabilities: np.ndarray) -> Compared:
    base = embedded(gauss(len(probabilities), 3))
    seen = Embedded(base.vectors, probabilities, base.labels, base.images)
    return Compared(base, seen)


def test_inception_score_is_torchmetrics() -> None:
    p = drawn_probabilities(120, 5)
    with warnings.catch_warnings():
        # It keeps all features, and the deviation of a single split is nan: it says both.
        warnings.simplefilter("ignore", UserWarning)
        theirs = InceptionScore(feature=Passes(), splits=1)
        theirs.update(double(p).clamp(min=1e-12).log())
        expected = float(theirs.compute()[0])
    assert from_classifiers.inception_score(seen_as(p)) == pytest.approx(expected, rel=1e-6)


def test_inception_score_is_torch_fidelitys() -> None:
    p = drawn_probabilities(120, 5)
    log_p = double(p).clamp(min=1e-12).log()
    expected = isc_features_to_metric(log_p, splits=1, shuffle=False)["inception_score_mean"]
    assert from_classifiers.inception_score(seen_as(p)) == pytest.approx(expected, rel=1e-6)


def test_inception_score_lies_between_one_and_the_number_of_classes() -> None:
    sure = np.eye(4, dtype=np.float32).repeat(10, 0)
    assert from_classifiers.inception_score(seen_as(sure)) == pytest.approx(4, rel=1e-6)
    assert from_classifiers.inception_score(seen_as(sure[:10])) == pytest.approx(1, rel=1e-6)
    assert from_classifiers.inception_score(seen_as(np.full((40, 4), 0.25, np.float32))) == pytest.approx(1)


def test_two_sample_classifier_tells_apart_what_is_apart() -> None:
    apart = from_classifiers.c2st(sides(150, 300, d=10, shift=3)[2])
    assert apart["c2st"] > 0.95 and apart["c2st_p"] < 1e-6


def test_two_sample_p_is_rarely_small_where_nothing_differs() -> None:
    found = [from_classifiers.c2st(sides(60, 60, d=10, shift=0, seed=2 * s)[2]) for s in range(60)]
    assert np.mean([f["c2st"] for f in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([f["c2st_p"] <= 0.05 for f in found]) <= 0.12


def test_two_sample_classifier_settles_on_wide_features() -> None:
    """2048 features of a wide range, some of them dead; a fit that does not settle warns, and fails here."""
    x, y, _ = sides(400, 400, d=2048, shift=0.2)
    scale = np.logspace(-4, 4, 2048).astype(np.float32)
    scale[::7] = 0
    found = from_classifiers.c2st(Compared(embedded(x * scale), embedded(y * scale)))
    assert found["c2st"] > 0.9


# Manifolds


@pytest.mark.parametrize(("n", "m"), [(100, 100), (80, 150), (6, 40)])
def test_precision_and_recall_are_torch_fidelitys(n: int, m: int) -> None:
    x, y, c = sides(n, m, shift=0.8)
    for spare in (False, True):
        theirs = prc_features_to_metric(double(y), double(x), save_cpu_ram=spare, verbose=False)
        assert manifolds.precision(c) == pytest.approx(theirs["precision"])
        assert manifolds.recall(c) == pytest.approx(theirs["recall"])


@pytest.mark.parametrize(("n", "m"), [(100, 100), (80, 150), (7, 40)])
def test_precision_recall_density_and_coverage_are_prdcs(n: int, m: int) -> None:
    """Neighbours as in the papers: 3 (Kynkäänniemi et al.) and 5 (Naeem et al.)."""
    x, y, c = sides(n, m, shift=0.8)
    near, dense = (prdc.compute_prdc(x, y, nearest_k=k) for k in (3, 5))
    found = manifolds.density_and_coverage(c)
    assert manifolds.precision(c) == pytest.approx(near["precision"])
    assert manifolds.recall(c) == pytest.approx(near["recall"])
    assert found["density"] == pytest.approx(dense["density"])
    assert found["coverage"] == pytest.approx(dense["coverage"])


def test_precision_against_the_definition() -> None:
    real, made, c = sides(25, 17, d=3)
    inside = 0
    for s in made:
        for i, r in enumerate(real):
            others = sorted(np.linalg.norm(np.delete(real, i, 0) - r, axis=1))
            if np.linalg.norm(s - r) <= others[NEIGHBOURS - 1]:
                inside += 1
                break
    assert manifolds.precision(c) == pytest.approx(inside / 17)


def test_realism_against_the_definition() -> None:
    real, made, c = sides(31, 16, d=3)
    radius = np.array(
        [sorted(np.linalg.norm(np.delete(real, i, 0) - r, axis=1))[NEIGHBOURS - 1] for i, r in enumerate(real)]
    )
    kept = [i for i in range(31) if radius[i] <= np.median(radius)]
    scores = [max(radius[i] / np.linalg.norm(s - real[i]) for i in kept) for s in made]
    assert manifolds.realism(c) == pytest.approx(np.median(scores), rel=1e-4)


def test_one_nn_is_scikit_learns_left_one_out() -> None:
    x, y, c = sides(60, 60, d=4, shift=0.5)
    both, made = np.concatenate([x, y]), np.repeat([0, 1], 60)
    judge = KNeighborsClassifier(n_neighbors=1)
    right = cross_val_predict(judge, both, made, cv=LeaveOneOut()) == made
    found = manifolds.one_nn(c)
    assert found["one_nn_real"] == pytest.approx(right[:60].mean())
    assert found["one_nn_synthetic"] == pytest.approx(right[60:].mean())
    assert found["one_nn"] == pytest.approx(right.mean())


def test_one_nn_of_sides_of_unequal_size_is_a_coin() -> None:
    found = [manifolds.one_nn(sides(40, 400, d=4, shift=0, seed=2 * s)[2]) for s in range(20)]
    for figure in ("one_nn", "one_nn_real", "one_nn_synthetic"):
        assert np.mean([f[figure] for f in found]) == pytest.approx(0.5, abs=0.06)


def test_one_nn_of_a_copy_of_the_real_images_is_nothing() -> None:
    x = embedded(gauss(50, 4))
    assert manifolds.one_nn(Compared(x, x))["one_nn"] == 0


def drawn_over_and_over(n: int, distinct: int, d: int = 16) -> np.ndarray:
    own = gauss(distinct, d, seed=1)
    return own[np.random.default_rng(2).integers(0, distinct, n)]


@pytest.mark.parametrize("d", [4, 16, 256])
def test_support_of_fifty_images_drawn_over_and_over_is_fifty(d: int) -> None:
    c = Compared(embedded(gauss(300, d)), embedded(drawn_over_and_over(600, 50, d)))
    assert float(manifolds.support(c)) == pytest.approx(50, rel=0.15)


@pytest.mark.parametrize("d", [16, 256])
def test_support_stands_where_some_real_images_are_twins(d: int) -> None:
    """More than one in a hundred: two count as the same only where nothing is between them."""
    real = gauss(300, d)
    real[:6] = real[6:12]
    c = Compared(embedded(real), embedded(drawn_over_and_over(600, 50, d)))
    assert float(manifolds.support(c)) == pytest.approx(50, rel=0.15)


def test_support_is_at_least_all_pairs_where_no_two_images_are_the_same() -> None:
    found = manifolds.support(sides(200, 40, d=32, shift=0)[2])
    assert isinstance(found, Noted)
    assert found.value == 40 * 39 / 2 and found.note.startswith("at least")


# Pairs of a class


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


# The table


def test_table_says_what_it_stands_on_and_refuses_too_few() -> None:
    real = embedded(gauss(23, 4), np.repeat([0, 1], [20, 3]))
    made = embedded(gauss(40, 4, seed=1), np.repeat([0, 1], 20), wrong=0.25)
    table = fidelity.measure(Compared(real, made), ("a", "b"))
    assert tuple(table.columns) == fidelity.COLUMNS
    assert table["class"].unique().tolist() == ["", "a", "b"]
    for _, part in table.groupby("class"):
        assert tuple(part.metric) == fidelity.names()
    found = table.set_index(["class", "metric"])
    assert found.value["", "agreement"] == 0.75 and found.value["a", "agreement"] == 0.5
    sizes = found[["n_real", "n_synthetic"]]
    assert {tuple(row) for row in sizes.loc[""].to_numpy()} == {(23, 40)}
    assert {tuple(row) for row in sizes.loc["b"].to_numpy()} == {(3, 20)}
    assert np.isfinite(found.value["a", "kid"]) and found.note["a", "kid"] == ""
    assert np.isnan(found.value["b", "kid"])
    assert found.note["b", "kid"] == "needs 5 real images, has 3"
    assert found.note["", "fid"] == "needs 50 real images, has 23"
    assert found.note["", "memorisation.p"] == "needs train images, has none"


def test_table_of_a_class_without_synthetic_or_real_images() -> None:
    real, made = embedded(gauss(20, 4)), embedded(gauss(20, 4), np.ones(20, np.int64))
    found = fidelity.measure(Compared(real, made, real), ("a", "b")).set_index(["class", "metric"])
    assert found.note["a", "kid"] == "needs 5 synthetic images, has 0"
    assert found.note["b", "kid"] == "needs 5 real images, has 0"
    assert found.value[["a", "b"]].isna().all()
    assert found.note["", "memorisation.p"] == "needs 10 real images, has 0"


def test_class_figures_are_those_of_the_class_alone() -> None:
    labels = np.repeat([0, 1], 40)
    real, made, train = (embedded(gauss(80, 4, seed=s), labels) for s in range(3))
    whole = fidelity.measure(Compared(real, made, train, 3), ("a", "b"))
    alone = fidelity.measure(Compared(*(s.take(labels == 1) for s in (real, made, train)), 3), ())
    np.testing.assert_array_equal(whole[whole["class"] == "b"].value, alone.value)


def test_the_same_comparison_gives_the_same_table_and_another_seed_others() -> None:
    c = sides(60, 50)[2]
    first, again, other = (
        fidelity.measure(Compared(copy.copy(c.real), c.synthetic, c.real, seed), ("a",)) for seed in (0, 0, 1)
    )
    assert first.equals(again)
    differ = first.metric[(first.value != other.value) & first.value.notna()]
    assert "kid_spread" in set(differ) and "fid" not in set(differ)


def test_every_figure_has_one_name() -> None:
    assert len(set(fidelity.names())) == len(fidelity.names())


def drawn(kind: str, n: int, seed: int) -> Embedded:
    """`alike`: of one distribution; `apart`: synthetic ones far away; `same`: one image over and over."""
    if kind == "same":
        return embedded(np.ones((n, 3), np.float32))
    return embedded(gauss(n, 3, 50.0 * (kind == "apart" and seed == 1), seed=seed))


@pytest.mark.parametrize("kind", ["alike", "apart", "same"])
@pytest.mark.parametrize("name", list(fidelity.metrics))
def test_a_metric_gives_a_figure_or_a_word_whatever_the_sizes(name: str, kind: str, monkeypatch) -> None:
    monkeypatch.setattr(pixels, "PAIRS", 20)
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)
    entry: Metric = fidelity.metrics[name]
    uneven = (1, 2, 4, 5, 6, 9, 10, 19, 20)
    for real, made in [(n, n) for n in (*range(1, 31), 60)] + [pair for n in uneven for pair in ((n, 30), (30, n))]:
        for train in (None, drawn(kind, 1, 2), drawn(kind, made, 2)):
            c = Compared(drawn(kind, real, 0), drawn(kind, made, 1), train)
            found = fidelity.figures(entry, c)
            assert tuple(found) == entry.gives
            unmet = min(real, made) < entry.least or (entry.needs_train and train is None)
            for told in found.values():
                assert math.isfinite(told.value) or told.note
                assert not unmet or (math.isnan(told.value) and "needs" in told.note)


@pytest.mark.parametrize("name", [n for n in fidelity.metrics if n not in ("lpips", "ms_ssim")])
def test_a_metric_is_given_from_its_least_number_of_images_on(name: str) -> None:
    entry = fidelity.metrics[name]
    real, made, train = entry.least_real, entry.least, entry.least
    c = Compared(*(drawn("alike", n, s) for s, n in enumerate((real, made, train))))
    for told in fidelity.figures(entry, c).values():
        assert math.isfinite(told.value)


of_classes = st.tuples(*[st.integers(0, 14)] * 3)


@settings(deadline=None, max_examples=25)
@given(of_classes, of_classes, of_classes)
def test_any_classes_of_any_sizes_give_figures_or_words(real, made, train) -> None:
    """Classes that one of the sets lacks, or has one image of."""
    sets = [
        embedded(gauss(sum(n), 3, seed=s), np.repeat(np.arange(3), n), classes=3)
        for s, n in enumerate((real, made, train))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "PAIRS", 5)
        patch.setattr(exchange, "PERMUTATIONS", 19)
        table = fidelity.measure(Compared(*sets), ("a", "b", "c"))
    assert len(table) == 4 * len(fidelity.names())
    assert (np.isfinite(table.value) | (table.note != "")).all()
    for label, name in enumerate("abc"):
        part = table[table["class"] == name]
        assert set(part.n_real) == {real[label]} and set(part.n_synthetic) == {made[label]}


def test_overall_only_the_classes_that_were_made_are_compared() -> None:
    """Images of one class of three, as real ones are: nothing is missing of it."""
    labels = np.repeat(np.arange(3), 60)
    real, train = (embedded(gauss(180, 4, seed=s) + 20 * labels[:, None], labels, classes=3) for s in (0, 1))
    made = embedded(gauss(60, 4, seed=2) + 20, np.full(60, 1), classes=3)
    table = fidelity.measure(Compared(real, made, train), ("a", "b", "c"))
    overall, own = (table[table["class"] == name].set_index("metric") for name in ("", "b"))
    assert set(overall.n_real) == {60} and overall.value["coverage"] > 0.7
    assert overall.value["kid"] == pytest.approx(own.value["kid"])
    assert set(table[table["class"] == "a"].n_real) == {60}
    lacking = fidelity.measure(Compared(real.of(0), made, train), ("a", "b", "c"))
    assert lacking.value.isna().all() and set(lacking.n_real[lacking["class"] == ""]) == {0}


def test_an_empty_train_set_is_no_train_set() -> None:
    own = drawn("alike", 20, 0)
    found = fidelity.figures(fidelity.metrics["memorisation.p"], Compared(own, own, own.of(1)))
    assert {told.note for told in found.values()} == {"needs train images, has none"}


def test_pictures_of_vectors_are_as_near_as_they() -> None:
    """What the other tests' images stand on."""
    v = gauss(3, 4)
    v[1] = v[0] + 0.05
    near, far = (
        np.abs(a.astype(int) - b).mean() for a, b in ((painted(v)[0], painted(v)[1]), (painted(v)[0], painted(v)[2]))
    )
    assert 0 < near < far / 5
