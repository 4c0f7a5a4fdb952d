"""Scores by the values of the source's attributes:
of every classifier, and of the two finalists with paired intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import LEAST_IMAGES
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.paired import Difference
from augpipe.comparison.simultaneous import Simultaneous, simultaneous
from augpipe.comparison.subgroups import GAP, WORST, Subgroups
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline.outputs import outputs
from augpipe.pipeline.records import ATTRIBUTE
from augpipe.pipeline.runs import Runs
from augpipe.report.predictions import Predicted

SEPARATOR: Final = " = "  # between attribute and value in the name of a difference


@dataclass(frozen=True)
class Group:
    """Finalist with synthetic images minus finalist without, in macro recall on the test images of one value of an
    attribute.

    value: also WORST, the lowest of the values in each training, or GAP, highest minus lowest. Means in percent,
    differences in points; low, high, p hold for all groups of all attributes together. images: test images. remark:
    what limits it.
    """

    attribute: str
    value: str
    images: int
    without: float
    with_generator: float
    difference: float
    low: float
    high: float
    p: float
    remark: str

    def summary(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "attribute": self.attribute,
            "value": self.value,
            "test_images": self.images,
            "without_generator": self.without,
            "with_generator": self.with_generator,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "remark": self.remark,
        }


@dataclass(frozen=True)
class Attributes:
    """Attributes of the test images. by_name: name → how they divide the test images. groups: see `Group`; empty if no
    two arms are compared."""

    by_name: Mapping[str, Subgroups]
    groups: tuple[Group, ...] = ()


def attributes_of(runs: Runs) -> Attributes | None:
    """The attributes of the test images; None if the source has none. Values that no test image has are left out."""
    prepared = next(iter(runs.prepared.values()))
    if prepared.attributes is None:
        return None
    table, test = load_table(prepared.attributes), load_images(prepared.splits.test)
    rows = table[table["split"] == "test"].fillna("")
    labels, groups = np.array(test.labels), test.table["group"].to_numpy()
    columns = {
        name.removeprefix(ATTRIBUTE): rows[name].to_numpy(dtype=object) for name in rows if name.startswith(ATTRIBUTE)
    }
    return Attributes({name: Subgroups(labels, groups, of) for name, of in columns.items() if (of != "").any()})


def compared(
    attributes: Attributes, runs: Runs, pair: Finalists, classifiers: Mapping[int, Sequence[int]]
) -> Attributes:
    """With the differences of the pair; classifiers: generator's seed → seeds of its classifiers."""
    if pair.missing:
        return attributes
    both = [outputs(runs, str(arm), classifiers) for arm in (pair.contender, pair.rival)]
    family, of = list[Difference](), list[tuple[str, Subgroups]]()
    for name, subgroups in attributes.by_name.items():
        differences = subgroups.differences(both[0], both[1], f"{name}{SEPARATOR}")
        family += differences
        of += [(name, subgroups)] * len(differences)
    if not family:
        return attributes
    joint = simultaneous(family, of[0][1].units)
    groups = [
        _group(name, subgroups, both, pair_of, one)
        for (name, subgroups), pair_of, one in zip(of, family, joint, strict=True)
    ]
    return Attributes(attributes.by_name, tuple(groups))


def _group(name: str, subgroups: Subgroups, both: Sequence[Outputs], pair: Difference, joint: Simultaneous) -> Group:
    value = pair.name.removeprefix(f"{name}{SEPARATOR}")
    few = bool((subgroups.counts[subgroups.counts > 0] < LEAST_IMAGES).any())
    images = int(subgroups.counts.sum())
    remark = "some groups have few test images" if few else ""
    if value in subgroups.names:
        counts = subgroups.counts[subgroups.names.index(value)]
        images, remark = int(counts.sum()), _remark(counts, pair)
    with_generator, without = (100 * float(_values(subgroups, of)[value].mean()) for of in both)
    return Group(name, value, images, without, with_generator, joint.difference, joint.low, joint.high, joint.p, remark)


def _remark(counts: NDArray[np.int64], pair: Difference) -> str:
    """Too few test images of a class, or none, or equal predictions of both arms."""
    parts = []
    present = counts[counts > 0]
    if present.min() < LEAST_IMAGES:
        parts.append(f"few test images: {present.min()} of a class")
    if absent := int((counts == 0).sum()):
        parts.append(f"no test images of {absent} class{'es' if absent > 1 else ''}")
    if pair.alike:
        parts.append("the same images right by both")
    return "; ".join(parts)


def _values(subgroups: Subgroups, of: Outputs) -> dict[str, NDArray[np.float64]]:
    """Macro recall (G,R) by value, then of WORST and GAP if there are two values; outputs: (G,R,N)."""
    recalls = subgroups.score(of).recalls
    values = {name: recalls[..., at] for at, name in enumerate(subgroups.names)}
    if len(subgroups.names) > 1:
        lowest, highest = recalls.min(2), recalls.max(2)
        values |= {WORST: lowest, GAP: highest - lowest}
    return values


def attribute_scores(attributes: Attributes, predictions: Sequence[Predicted]) -> pd.DataFrame:
    """`arm, seed, attribute, group, images, metric, value` of every classifier on the test images,
    for `attributes.csv`.
    """
    rows = []
    for one in predictions:
        predicted = load_state(one.probabilities)["test"].numpy().argmax(1)[None, None]
        for name, subgroups in attributes.by_name.items():
            images = {**dict(zip(subgroups.names, subgroups.counts.sum(1).tolist(), strict=True))}
            for value, recall in _values(subgroups, predicted).items():
                metric = {WORST: "worst_group_recall", GAP: "recall_gap"}
                in_group = value in images
                rows.append(
                    (
                        one.arm,
                        one.seed,
                        name,
                        value if in_group else "",
                        images.get(value, sum(images.values())),
                        "macro_recall" if in_group else metric[value],
                        float(recall.item()),
                    )
                )
    columns = ["arm", "seed", "attribute", "group", "images", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)
