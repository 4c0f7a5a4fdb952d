"""The table of predictions."""

from __future__ import annotations

import numpy as np

from augpipe.report import predictions


def test_with_many_classes_only_the_predicted_ones_probability_is_written() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.dirichlet(np.ones(k), 3).astype(np.float32) for k in (50, 51))
    names = [f"c{c}" for c in range(51)]
    assert len(predictions.table(list("abc"), few, names[:50]).columns) == 3 + 50
    table = predictions.table(list("abc"), many, names)
    assert table.columns.tolist() == ["id", "predicted", "probability"]
    assert table.predicted.tolist() == [names[at] for at in many.argmax(1)]
    assert table.probability.tolist() == many.max(1).tolist()
