"""Tests whether train images were memorised: synthetic images against train and against held-out real ones.

Train and held-out images of a class come from the same distribution. For a generator that learned only what they share,
they are exchangeable: it makes no difference which of them are train images. `memorisation.p` is the p-value of that
permutation test within classes, of whole groups where images have groups. Its statistic is the mean, over synthetic
images, of the log ratio of the distance to the nearest held-out image to that to the nearest train image, so that a few
near copies weigh as much as a general attraction. The test is valid for any sizes of train and held-out set, and for a
generator that draws only typical images, which are nearer to *any* real image than real images are to each other. The
comparison of Meehan et al. (2020), distances of synthetic and of held-out images to their nearest train image, takes
such a generator for a copier; it is reported as `memorisation.nearer`.

Distances in pixels are those of `views`: a picture that is shifted by a pixel or mirrored is the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from augpipe.synthetic import views
from augpipe.synthetic.fidelity.base import Compared, Noted, RefusedError, metric
from augpipe.synthetic.fidelity.exchange import Deals, Floats, Space, exchange_test, real_units, subsample

# Fraction of held-out images that are as near to train as a near copy.
NEAR: Final = 0.01
FEWEST: Final = round(1 / NEAR) - 1  # least number of held-out images whose minimum estimates that quantile
TINY: Final = 1e-6
HELD_OUT: Final = 10  # images of each set that the test needs
GROUPED: Final = "assumes independent images, and these have groups; see memorisation.p"


def strata(c: Compared) -> list[dict[str, Space]]:
    """Each class in features and in pixels, without the classes that lack synthetic, train or held-out images.

    Train and held-out images have the same distribution only within a class: if train is thinned, its class frequencies
    differ from those of val, and nearness to a class would pass for nearness to train.
    """
    if c.train is None:
        raise RefusedError("needs the training set")
    classes, units = [], np.split(real_units(c.train, c.real), [len(c.train)])
    for label in np.unique(c.synthetic.labels).tolist():
        synthetic, train, held_out = (s.of(label) for s in (c.synthetic, c.train, c.real))
        if min(len(train), len(held_out)) > 0:
            of_class = np.concatenate([of[s.labels == label] for of, s in zip(units, (c.train, c.real), strict=True)])
            classes.append(
                {
                    "features": Space(synthetic.vectors, train.vectors, held_out.vectors, of_class),
                    "pixels": Space(synthetic.images, train.images, held_out.images, of_class, views.nearest),
                }
            )
    if not classes:
        raise RefusedError("needs a class with synthetic, train and held-out images")
    return classes


@metric(
    "memorisation.p",
    "memorisation.p_features",
    "memorisation.p_pixels",
    "memorisation.nearer",
    "memorisation.nearer_p",
    "memorisation.membership_auc",
    "memorisation.membership_p",
    least=HELD_OUT,
    needs_train=True,
)
def memorisation(c: Compared) -> dict[str, float | Noted]:
    """One-sided p (small: memorised), Bonferroni-corrected over both spaces, and the figures behind it.

    nearer: probability that a synthetic image is nearer to train than a held-out one (features; .5: no difference).
    membership_auc: AUC of the distance to the nearest synthetic image as a score that separates train from held-out
    images (features; .5: chance). All compare images within a class and are combined over classes.
    """
    classes = strata(c)
    features = [spaces["features"] for spaces in classes]
    deals = Deals(features)
    to_train = [(s.nearest(s.synthetic, s.train), s.nearest(s.held_out, s.train)) for s in features]
    to_synthetic = [(s.nearest(s.train, s.synthetic), s.nearest(s.held_out, s.synthetic)) for s in features]
    nearer, nearer_p = _less(to_train)
    auc, auc_p = _less(to_synthetic)
    figures: dict[str, float | Noted] = {
        **_exchanged(c, classes, deals),
        "memorisation.nearer": nearer,
        "memorisation.nearer_p": nearer_p,
        "memorisation.membership_auc": auc,
        "memorisation.membership_p": auc_p,
    }
    if deals.grouped:
        for name in ("memorisation.nearer_p", "memorisation.membership_p"):
            figures[name] = Noted(math.nan, GROUPED)
    return figures


def _exchanged(c: Compared, classes: Sequence[dict[str, Space]], deals: Deals) -> dict[str, float | Noted]:
    """p of the permutation test in both spaces, and of both together."""
    names = ("memorisation.p", "memorisation.p_features", "memorisation.p_pixels")
    refusal = deals.refusal()
    if refusal:
        return dict.fromkeys(names, Noted(math.nan, refusal))
    of_features, of_pixels = (
        exchange_test([spaces[name] for spaces in classes], c.rng(f"memorisation {name}"))
        for name in ("features", "pixels")
    )
    both = min(1.0, 2 * min(of_features, of_pixels))
    return dict(zip(names, (both, of_features, of_pixels), strict=True))


def _less(samples: Sequence[tuple[Floats, ...]]) -> tuple[float, float]:
    """P(a < b) + ½ P(a = b) within classes, and the one-sided p of it being above ½.

    samples: (a, b) of each class. Mann-Whitney statistics per class, combined with the weights of van Elteren (1960).
    """
    below, pairs, excess, variance = 0.0, 0, 0.0, 0.0
    for a, b in samples:
        n, m = len(a), len(b)
        u = n * m - float(mannwhitneyu(a, b, method="asymptotic").statistic)
        below, pairs = below + u, pairs + n * m
        excess += (u - n * m / 2) / (n + m + 1)
        variance += n * m / 12 / (n + m + 1)
    return below / pairs, float(norm.sf(excess / np.sqrt(variance)))


@metric(
    "memorisation.near_copies", "memorisation.near_copies_features", least=HELD_OUT, least_real=FEWEST, needs_train=True
)
def near_copies(c: Compared) -> dict[str, float]:
    """Fraction of synthetic images nearer to train than the nearest 1% of held-out images, in pixels and features.

    Distances of a class with fewer than FEWEST held-out images are divided by the median nearest-neighbour distance of
    its train images, and compared with those of all classes together.
    """
    classes, rng = strata(c), c.rng("near copies")
    held_out = sum(len(spaces["pixels"].held_out) for spaces in classes)
    if held_out < FEWEST:
        raise RefusedError(f"needs {FEWEST} held-out images, has {held_out}")
    return {
        f"memorisation.{figure}": _nearer_than_real([spaces[space] for spaces in classes], rng)
        for figure, space in (("near_copies", "pixels"), ("near_copies_features", "features"))
    }


def _nearer_than_real(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """Fraction of synthetic images nearer to train than the limit from held-out images."""
    few = any(len(space.held_out) < FEWEST for space in classes)
    near_in_class, pooled_distances, reference_distances = (list[NDArray[np.bool_]](), list[Floats](), list[Floats]())
    for space in classes:
        subsamples = (subsample(items, rng) for items in (space.synthetic, space.held_out))
        synthetic, held_out = (space.nearest(items, space.train) for items in subsamples)
        unit = _train_gap(space, rng) if few else 1.0
        reference_distances.append(held_out / unit)
        if len(held_out) >= FEWEST:
            near_in_class.append(synthetic < _near_copy_limit(held_out))
        else:
            pooled_distances.append(synthetic / unit)
    near = [
        *near_in_class,
        *(synthetic < _near_copy_limit(np.concatenate(reference_distances)) for synthetic in pooled_distances),
    ]
    return float(np.concatenate(near).mean())


def _train_gap(space: Space, rng: np.random.Generator) -> float:
    """Median nearest-neighbour distance of train images; with a single one, of held-out images to it.

    The median of the held-out images would be the wrong unit: divided by their own median, few of them are ever near.
    """
    if len(space.train) > 1:
        gaps = space.search(subsample(space.train, rng), space.train, 2)[0][:, 1]
    else:
        gaps = space.nearest(space.held_out, space.train)
    return max(float(np.median(gaps)), TINY)


def _near_copy_limit(values: Floats) -> float:
    """Order statistic below which another value of the same distribution falls with probability at most NEAR."""
    return max(TINY, float(np.sort(values)[int(NEAR * (len(values) + 1) + TINY) - 1]))


def gallery(c: Compared, n: int) -> NDArray[np.int64]:
    """Rows (m,3) of synthetic, nearest train and nearest held-out image of the class in pixels.

    Most suspicious first: lowest ratio of the distance to train to the distance to held-out images. m is at most n.
    """
    if c.train is None:
        return np.empty((0, 3), np.int64)
    rows, suspicion = [np.empty((0, 3), np.int64)], [np.empty(0)]
    for label in np.unique(c.synthetic.labels).tolist():
        class_rows = [np.flatnonzero(s.labels == label) for s in (c.synthetic, c.train, c.real)]
        if min(len(rows_of_set) for rows_of_set in class_rows) == 0:
            continue
        synthetic, train, held_out = (
            s.images[rows_of_set] for s, rows_of_set in zip((c.synthetic, c.train, c.real), class_rows, strict=True)
        )
        near, at = views.nearest(synthetic, train)
        far, far_at = views.nearest(synthetic, held_out)
        rows.append(np.stack([class_rows[0], class_rows[1][at[:, 0]], class_rows[2][far_at[:, 0]]], 1))
        suspicion.append((near[:, 0] + 1e-6) / (far[:, 0] + 1e-6))
    order = np.argsort(np.concatenate(suspicion), kind="stable")[:n]
    return np.concatenate(rows)[order]
