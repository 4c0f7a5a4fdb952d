"""Were train images memorised? Synthetic images against train and against held-out real ones.

Train and held-out images of a class were drawn alike, so a generator that learned what they share stands to both alike:
which of them were train's could be dealt anew without a difference. `memorisation.p` is the p-value of that
permutation test within classes. Its statistic is, over synthetic images, the mean log of the distance to the nearest
held-out image over that to the nearest train image, so that few near copies weigh as much as a general pull.
The test holds for any sizes of train and held-out set, and for a generator that draws only what is typical, whose
images are nearer to *any* real image than real ones are to each other. Meehan et al.'s comparison (2020), nearest
train distances of synthetic against held-out images, takes such a generator for a copier; it is told as
`memorisation.nearer`, beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from augpipe.core import neighbours
from augpipe.synthetic.fidelity.base import Compared, RefusedError, metric

PERMUTATIONS: Final = 999
CANDIDATES: Final = (8, 64)  # nearest real images that a permutation looks through
MISSED: Final = 1e-4  # how often one of the two kinds may be missing among them, where so few do
NEAR: Final = (
    0.01  # share of held-out images that lie as near to train as what counts as a near copy
)
FEWEST: Final = round(1 / NEAR) - 1  # held-out images whose nearest stands for that share
TINY: Final = 1e-6
COPIED: Final = 1e-3  # of the median distance: nearer is the same image
HELD_OUT: Final = 10
MOST: Final = (
    2000  # images of a side that are looked at in a class's permutation test, and in pixels
)

Floats = NDArray[np.float32]
Items = NDArray[np.generic]


@dataclass(frozen=True)
class Space:
    """Synthetic, train and held-out images of one class as vectors of one space."""

    synthetic: Items
    train: Items
    held_out: Items


def strata(c: Compared) -> list[dict[str, Space]]:
    """Each class in domain features and in pixels; classes without synthetic, train or held-out images apart.

    Train and held-out images are alike class by class alone: where train is thinned, its classes have other
    shares than val's, and nearness to a class would pass for nearness to train.
    """
    if c.train is None:
        raise RefusedError("needs the training set")
    found = []
    for label in np.unique(c.synthetic.labels).tolist():
        made, train, held = (s.of(label) for s in (c.synthetic, c.train, c.real))
        if min(len(train), len(held)) > 0:
            found.append(
                {
                    "features": Space(made.vectors, train.vectors, held.vectors),
                    "pixels": Space(made.images, train.images, held.images),
                }
            )
    if not found:
        raise RefusedError("needs a class with synthetic, train and held-out images")
    return found


@metric(
    "memorisation.p", "memorisation.p_features", "memorisation.p_pixels",
    "memorisation.nearer", "memorisation.nearer_p",
    "memorisation.membership_auc", "memorisation.membership_p",
    least=HELD_OUT, needs_train=True,
)  # fmt: skip
def memorisation(c: Compared) -> dict[str, float]:
    """One-sided p (small: memorised), Bonferroni over both spaces, and the figures behind it.

    nearer: probability that a synthetic image is nearer to train than a held-out one (features; .5 alike).
    membership_auc: how well the distance to the nearest synthetic image tells train from held-out images (features;
    .5: not). All compare images of one class, and are put together over classes.
    """
    classes = strata(c)
    features = [of["features"] for of in classes]
    p_features, p_pixels = (
        exchange_test([of[name] for of in classes], c.rng(f"memorisation {name}"))
        for name in ("features", "pixels")
    )
    to_train = [(_nearest(s.synthetic, s.train), _nearest(s.held_out, s.train)) for s in features]
    to_made = [
        (_nearest(s.train, s.synthetic), _nearest(s.held_out, s.synthetic)) for s in features
    ]
    nearer, nearer_p = _less(to_train)
    auc, auc_p = _less(to_made)
    return {
        "memorisation.p": min(1.0, 2 * min(p_features, p_pixels)),
        "memorisation.p_features": p_features,
        "memorisation.p_pixels": p_pixels,
        "memorisation.nearer": nearer,
        "memorisation.nearer_p": nearer_p,
        "memorisation.membership_auc": auc,
        "memorisation.membership_p": auc_p,
    }


def _nearest(queries: Items, points: Items) -> Floats:
    return neighbours.nearest(queries, points)[0][:, 0]


def _less(parts: Sequence[tuple[Floats, ...]]) -> tuple[float, float]:
    """P(a < b) + ½ P(a = b) within classes, and the one-sided p that it is above ½.

    Mann & Whitney's statistic of each class, put together with van Elteren's weights (1960).
    """
    below, pairs, apart, spread = 0.0, 0, 0.0, 0.0
    for a, b in parts:
        n, m = len(a), len(b)
        u = n * m - float(mannwhitneyu(a, b, method="asymptotic").statistic)
        below, pairs = below + u, pairs + n * m
        apart += (u - n * m / 2) / (n + m + 1)
        spread += n * m / 12 / (n + m + 1)
    return below / pairs, float(norm.sf(apart / np.sqrt(spread)))


@metric(
    "memorisation.near_copies", "memorisation.near_copies_features",
    least=HELD_OUT, least_real=FEWEST, needs_train=True,
)  # fmt: skip
def near_copies(c: Compared) -> dict[str, float]:
    """Share of synthetic images nearer to train than 1% of held-out images of their class are, in pixels and features.

    Distances of a class with fewer than FEWEST held-out images are taken in units of the median distance between train
    images and their nearest fellows, and held against those of all classes together.
    """
    classes, rng = strata(c), c.rng("near copies")
    held_out = sum(len(of["pixels"].held_out) for of in classes)
    if held_out < FEWEST:
        raise RefusedError(f"needs {FEWEST} held-out images, has {held_out}")
    return {
        f"memorisation.{figure}": _nearer_than_real([of[space] for of in classes], rng)
        for figure, space in (("near_copies", "pixels"), ("near_copies_features", "features"))
    }


def _nearer_than_real(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """Share of synthetic images nearer to train than the limit that held-out ones set."""
    few = any(len(space.held_out) < FEWEST for space in classes)
    own, small, pooled = list[NDArray[np.bool_]](), list[Floats](), list[Floats]()
    for space in classes:
        sides = (_drawn(part, rng) for part in (space.synthetic, space.held_out))
        made, held = (_nearest(side, space.train) for side in sides)
        unit = _apart(space, rng) if few else 1.0
        pooled.append(held / unit)
        if len(held) >= FEWEST:
            own.append(made < _limit(held))
        else:
            small.append(made / unit)
    near = [*own, *(made < _limit(np.concatenate(pooled)) for made in small)]
    return float(np.concatenate(near).mean())


def _apart(space: Space, rng: np.random.Generator) -> float:
    """Median distance of a train image to its nearest fellow; of held-out images to train where there is none.

    Not that of the held-out images themselves: in units of their own median, few are never near.
    """
    if len(space.train) > 1:
        gaps = neighbours.nearest(_drawn(space.train, rng), space.train, 2)[0][:, 1]
    else:
        gaps = _nearest(space.held_out, space.train)
    return max(float(np.median(gaps)), TINY)


def _limit(values: Floats) -> float:
    """An order statistic that one more of the same kind lies below with a chance of NEAR at most."""
    return max(TINY, float(np.sort(values)[int(NEAR * (len(values) + 1) + TINY) - 1]))


def _drawn(items: Items, rng: np.random.Generator) -> Items:
    """At most MOST of them: enough for a share, and pixels are many."""
    return items if len(items) <= MOST else items[np.sort(rng.permutation(len(items))[:MOST])]


class _Dealt:
    """One class of the permutation test: distances of its synthetic images to its real ones, which are dealt anew."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        made, self.members = _drawn(space.synthetic, rng), len(space.train)
        pool = np.concatenate([space.train, space.held_out])
        self.n, self.images = len(pool), len(made)
        distance, self.row = neighbours.nearest(
            made, pool, min(_candidates(self.members, self.n), self.n)
        )
        # The log of an exact copy's distance must be finite; nearer than this, all copies are one's evidence.
        positive = distance[distance > 0]
        least = COPIED * float(np.median(positive)) if len(positive) else 1.0
        self.logs = np.log(np.maximum(distance, least))

    def pull(self, rng: np.random.Generator | None = None) -> float:
        """The statistic summed over this class's images, as it is, or with the real images dealt by `rng`."""
        own = np.arange(self.n) < self.members
        return _pull(self.logs, (own if rng is None else rng.permutation(own))[self.row])


def exchange_test(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """p of the permutation test in the module's head; its least value is 1 / (PERMUTATIONS + 1)."""
    dealt = [_Dealt(space, rng) for space in classes]
    seen = sum(one.pull() for one in dealt)
    above = sum(sum(one.pull(rng) for one in dealt) >= seen for _ in range(PERMUTATIONS))
    return (1 + above) / (PERMUTATIONS + 1)


def _candidates(members: int, n: int) -> int:
    """So many that both kinds are among them, but for MISSED of the images."""
    often = max(members, n - members) / n
    return int(np.clip(np.ceil(np.log(MISSED) / np.log(often)), *CANDIDATES))


def _pull(logs: Floats, member: NDArray[np.bool_]) -> float:
    """Sum over images of log distance to the nearest non-member minus that to the nearest member.

    logs, member: (N,k), nearest first. Where all k are of one kind, the k-th stands for the other's nearest.
    """
    at = np.arange(len(logs))
    last = logs.shape[1] - 1
    first = np.where(member.any(1), member.argmax(1), last)
    other = np.where((~member).any(1), (~member).argmax(1), last)
    return float((logs[at, other] - logs[at, first]).sum())


def gallery(c: Compared, n: int) -> NDArray[np.int64]:
    """Rows (m,3) of synthetic, nearest train and nearest held-out image of the class in pixels.

    Most suspicious first: what lies far nearer to a train image than to a held-out one. m is n or what there is.
    """
    if c.train is None:
        return np.empty((0, 3), np.int64)
    rows, suspicion = [np.empty((0, 3), np.int64)], [np.empty(0)]
    for label in np.unique(c.synthetic.labels).tolist():
        of = [np.flatnonzero(s.labels == label) for s in (c.synthetic, c.train, c.real)]
        if min(len(own) for own in of) == 0:
            continue
        made, train, held = (
            s.images[own] for s, own in zip((c.synthetic, c.train, c.real), of, strict=True)
        )
        near, at = neighbours.nearest(made, train)
        far, other = neighbours.nearest(made, held)
        rows.append(np.stack([of[0], of[1][at[:, 0]], of[2][other[:, 0]]], 1))
        suspicion.append((near[:, 0] + 1e-6) / (far[:, 0] + 1e-6))
    order = np.argsort(np.concatenate(suspicion), kind="stable")[:n]
    return np.concatenate(rows)[order]
