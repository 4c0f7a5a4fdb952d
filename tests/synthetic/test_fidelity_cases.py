"""Which figures catch which fault: generators whose faults are known, against real images of two classes.

Vectors are of two modes a class; images are pictures of them, so that what is near in features is near in pixels.
"""

from __future__ import annotations

import numpy as np
import pytest
from embeddings import embedded, gauss
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from augpipe.classifiers.options import ClassifierOptions
from augpipe.core import device as runtime
from augpipe.core.images import ImageSet, Splits, provenance
from augpipe.pipeline.stages.train_classifier import fit_reference
from augpipe.synthetic import fidelity
from augpipe.synthetic.embeddings import Embedded, FeatureExtractor
from augpipe.synthetic.fidelity import Compared, exchange, memorisation

N, D = 240, 12
MODES = 6 * np.eye(4, D, dtype=np.float32)  # of class 0, 0, 1, 1
LABELS = np.repeat([0, 1], N // 2)
ROWS = tuple(np.flatnonzero(np.equal(LABELS, c)) for c in (0, 1))  # of each class


def modes(seed: int) -> np.ndarray:
    """Which mode each image is of: of its class's two, either as often."""
    return 2 * LABELS + np.random.default_rng([seed, 1]).integers(0, 2, N)


def real_images(seed: int) -> Embedded:
    return embedded(MODES[modes(seed)] + gauss(N, D, seed=seed), LABELS)


TRAIN, REAL = real_images(1), real_images(2)


def independent(seed: int = 3) -> Embedded:
    """Drawn as the real ones are: what a perfect generator draws."""
    return real_images(seed)


def copier() -> Embedded:
    """Train images over again, a hair off, in the proportions of their class."""
    rng = np.random.default_rng(4)
    of = np.concatenate([rng.choice(rows, N // 2) for rows in ROWS])
    return embedded(TRAIN.vectors[of] + 0.02 * gauss(N, D, seed=4), LABELS)


def dropper(seed: int = 5) -> Embedded:
    """Never the second mode of a class."""
    return embedded(MODES[2 * LABELS] + gauss(N, D, seed=seed), LABELS)


def off_the_manifold(seed: int = 6) -> Embedded:
    """The right modes, with two and a half times the spread."""
    return embedded(MODES[modes(seed)] + 2.5 * gauss(N, D, seed=seed), LABELS)


def collapsed(seed: int = 7) -> Embedded:
    """Two dozen good images over and over, a hair off."""
    rng = np.random.default_rng(seed)
    few = [rng.choice(rows, 12, replace=False) for rows in ROWS]
    good = real_images(seed).vectors[np.concatenate(few).repeat(N // 24)]
    return embedded(good + 0.01 * gauss(N, D, seed=seed), LABELS)


def swapped() -> Embedded:
    """Good images of the other class than they were asked for; the classifier sees which."""
    good = real_images(8)
    return Embedded(good.vectors, good.probabilities, 1 - good.labels, good.images)


Figures = dict[tuple[str, str], float]
GENERATORS = (independent, copier, dropper, off_the_manifold, collapsed, swapped)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    """Generator → (class, figure) → value."""
    found = {}
    for generator in GENERATORS:
        table = fidelity.measure(Compared(REAL, generator(), TRAIN), ("a", "b"))
        found[generator.__name__] = table.set_index(["class", "metric"]).value.to_dict()
    return found


@pytest.fixture(scope="module")
def floor(figures) -> Figures:
    return figures["independent"]


def test_what_is_drawn_as_real_images_are_is_at_the_floor(figures, floor: Figures) -> None:
    for part in ("", "a", "b"):
        kid = floor[part, "kid"]
        assert abs(kid) < 4 * floor[part, "kid_spread"]
        assert kid < 0.1 * min(figures["dropper"][part, "kid"], figures["swapped"]["a", "kid"])
        assert floor[part, "one_nn"] == pytest.approx(0.5, abs=0.1)
        assert floor[part, "c2st_p"] > 0.01
        for name in ("precision", "recall", "coverage"):
            assert floor[part, name] > 0.75
        assert floor[part, "density"] == pytest.approx(1, abs=0.3)
        assert floor[part, "memorisation.p"] > 0.01
        assert floor[part, "memorisation.near_copies"] < 0.1
        assert floor[part, "memorisation.membership_auc"] == pytest.approx(0.5, abs=0.1)
        assert floor[part, "ssim"] == pytest.approx(floor[part, "ssim_real"], abs=0.1)
    assert floor["", "agreement"] == 1


@pytest.mark.parametrize("generator", [independent, dropper, off_the_manifold, collapsed])
def test_p_is_small_for_few_of_many_generators_that_never_saw_train(generator, monkeypatch) -> None:
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)
    small = 0
    for seed in range(100, 190, 3):
        c = Compared(real_images(seed), generator(seed + 1), real_images(seed + 2), seed)
        small += memorisation.memorisation(c)["memorisation.p"] <= 0.05
    assert small <= 5  # of 30


def test_a_copier_is_caught_by_the_memorisation_figures(figures) -> None:
    for part in ("", "a", "b"):
        found = figures["copier"]
        for name in ("p", "p_features", "p_pixels", "nearer_p", "membership_p"):
            assert found[part, f"memorisation.{name}"] <= 0.01
        for name in ("near_copies", "near_copies_features", "nearer", "membership_auc"):
            assert found[part, f"memorisation.{name}"] > 0.75


def test_a_copier_is_not_caught_by_what_compares_with_real_images(figures, floor: Figures) -> None:
    for part in ("", "a", "b"):
        found = figures["copier"]
        assert found[part, "precision"] > floor[part, "precision"] - 0.15
        assert found[part, "coverage"] > floor[part, "coverage"] - 0.1
        assert found[part, "density"] > floor[part, "density"] - 0.4
        assert found[part, "recall"] > 0.6  # some train images are not drawn: a little below the floor
        assert found[part, "fid"] < 0.1 * figures["dropper"][part, "fid"]
        assert abs(found[part, "kid"]) < 0.05 * figures["dropper"][part, "kid"]
    assert found["", "agreement"] == 1


def test_a_dropped_mode_is_caught_by_recall_and_coverage_and_not_by_precision(figures, floor: Figures) -> None:
    for part in ("", "a", "b"):
        found = figures["dropper"]
        for name in ("recall", "coverage"):
            assert found[part, name] == pytest.approx(0.5 * floor[part, name], abs=0.12)
        assert found[part, "precision"] > floor[part, "precision"] - 0.1
        assert found[part, "kid"] > 10 * floor[part, "kid_spread"]
        assert found[part, "fid"] > 3 * floor[part, "fid"]
        assert found[part, "memorisation.p"] > 0.01
        assert found[part, "agreement"] == 1


def test_images_off_the_manifold_are_caught_by_precision_density_and_realism_and_are_not_memorised(
    figures, floor: Figures
) -> None:
    for part in ("", "a", "b"):
        found = figures["off_the_manifold"]
        for name in ("precision", "density", "realism"):
            assert found[part, name] < 0.6 * floor[part, name]
        assert found[part, "fid"] > 5 * floor[part, "fid"]
        assert found[part, "memorisation.p"] > 0.01
        assert found[part, "memorisation.near_copies"] < 0.05


def test_a_collapsed_generator_is_caught_by_support_recall_and_its_neighbours(figures, floor: Figures) -> None:
    found = figures["collapsed"]
    assert found["", "support"] == pytest.approx(24, rel=0.15)
    assert found["a", "support"] == pytest.approx(12, rel=0.15)
    assert floor["", "support"] > 50 * found["", "support"]
    for part in ("", "a", "b"):
        assert found[part, "recall"] < 0.1 and found[part, "coverage"] < 0.7
        assert found[part, "one_nn_synthetic"] > 0.95
        assert found[part, "precision"] > 0.65
        assert found[part, "memorisation.p"] > 0.01


def test_swapped_classes_are_caught_class_by_class_and_by_agreement(figures, floor: Figures) -> None:
    found = figures["swapped"]
    assert found["", "agreement"] == 0
    assert found["", "kid"] == pytest.approx(0, abs=4 * floor["", "kid_spread"])
    for part in ("a", "b"):
        assert found[part, "kid"] > 20 * floor[part, "kid_spread"]
        assert found[part, "precision"] < 0.1 and found[part, "coverage"] < 0.1


@pytest.fixture(scope="module")
def scans() -> dict[str, Embedded]:
    """scikit-learn's digits through a classifier of a third of them: train, val, others, and these blurred."""
    found = load_digits()
    pixels = np.kron((found.images * 15.9).astype(np.uint8), np.ones((1, 2, 2), np.uint8))[:, None]
    order = np.random.default_rng(0).permutation(len(pixels))
    blurred = gaussian_filter(pixels, (0, 0, 2.5, 2.5))

    def part(of: np.ndarray, rows: np.ndarray) -> ImageSet:
        names = tuple(map(str, range(10)))
        return ImageSet(of[rows], found.target[rows], names, provenance([str(r) for r in rows]))

    rows = np.array_split(order, 3)
    train, val, others = (part(pixels, own) for own in rows)
    here = runtime.start("cpu", "32-true", threads=1)
    options = ClassifierOptions(width=0.25, steps=300, evaluations=2)
    judge = fit_reference(Splits(train, val, others), options, here, seed=0)
    sets = {"train": train, "val": val, "others": others, "blurred": part(blurred, rows[2])}
    return {name: FeatureExtractor(judge, here).embed(images) for name, images in sets.items()}


def test_a_blurred_generator_is_caught_by_precision_and_not_by_memorisation(scans: dict[str, Embedded]) -> None:
    names = tuple(map(str, range(10)))
    floor, blurred = (
        fidelity.measure(Compared(scans["val"], scans[made], scans["train"]), names)
        .set_index(["class", "metric"])
        .value.loc[""]
        for made in ("others", "blurred")
    )
    assert floor["precision"] > 0.7 and floor["recall"] > 0.7
    for name in ("precision", "density", "realism"):
        assert blurred[name] < 0.6 * floor[name], name
    assert blurred["kid"] > 10 * floor["kid_spread"]
    for found in (floor, blurred):
        assert found["memorisation.p"] > 0.01 and found["memorisation.near_copies"] < 0.05
