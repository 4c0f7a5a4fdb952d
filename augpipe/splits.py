"""Train, val and test: stratified, drawn once for an experiment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augpipe.errors import UserError
from augpipe.schema import Strict

NAMES = ("train", "val", "test")


class SplitOptions(Strict):
    """Shares of each class that go to val and test; train takes the rest."""

    val: float = Field(default=0.2, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _room_for_train(self) -> SplitOptions:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave nothing for train: their sum must be below 1"
            )
        return self


def stratified(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Disjoint, sorted rows of train, val and test that together hold every row.

    Each class gives round(share · n) images to val and to test, at least one to each of the three.
    UserError where a class has fewer than three images.
    """
    rows: dict[str, list[NDArray[np.int64]]] = {name: [] for name in NAMES}
    for label, name in enumerate(classes):
        own = rng.permutation(np.flatnonzero(labels == label))
        if len(own) < len(NAMES):
            raise UserError(
                f"class {name!r} has {len(own)} image{'' if len(own) == 1 else 's'}; train, val and test "
                f"need at least {len(NAMES)}: add images or leave the class out"
            )
        n_val = max(1, round(options.val * len(own)))
        n_test = max(1, round(options.test * len(own)))
        # Rounding up twice may eat a tiny class whole; test gives back first, then val.
        while n_val + n_test >= len(own):
            n_val, n_test = (n_val, n_test - 1) if n_test >= n_val else (n_val - 1, n_test)
        rows["val"].append(own[:n_val])
        rows["test"].append(own[n_val : n_val + n_test])
        rows["train"].append(own[n_val + n_test :])
    return {name: np.sort(np.concatenate(parts)).astype(np.int64) for name, parts in rows.items()}
