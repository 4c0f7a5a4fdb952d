"""Precision, recall, density, coverage and support against their definitions and other libraries."""

from __future__ import annotations

import numpy as np
import prdc
import pytest
from embeddings import double, embedded, gauss, sides
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from torch_fidelity.metric_prc import prc_features_to_metric

from augpipe.synthetic.fidelity import Compared, manifolds
from augpipe.synthetic.fidelity.base import NEIGHBOURS, Noted


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
