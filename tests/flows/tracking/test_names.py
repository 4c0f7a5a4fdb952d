from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from augpipe.synthetic import fidelity
from flows.tracking.names import Point, fidelity_points, flat, safe_metrics, safe_names


def test_nested_values_become_dotted_names() -> None:
    values = {"a": {"b": 1, "c": [1, 2]}, "arms": [{"name": "x", "mix": {}}, {"name": "y"}], "n": None}
    assert flat(values) == {
        "a.b": 1,
        "a.c": "[1, 2]",
        "arms.0.name": "x",
        "arms.0.mix": {},
        "arms.1.name": "y",
        "n": None,
    }


def test_classes_that_mlflow_cannot_tell_apart_keep_their_own_values() -> None:
    told = flat({"mix": {"fill": {"é": 1, "è": 2, "8 - eight": 3}}})
    assert sorted(told.values()) == [1, 2, 3] and told["mix.fill.8 - eight"] == 3
    assert all(re.fullmatch(r"[\w./ -]+", key, re.ASCII) for key in told)


def test_class_names_become_names_mlflow_takes_and_stay_different() -> None:
    names = safe_names(["cat", "a/b", "a_b", "größe", "<b>", "", "cat "])
    assert names[0] == "cat" and len(set(names)) == 7
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz_0123456789") for n in names)


def test_long_class_names_are_cut_and_stay_different() -> None:
    """MLflow takes 250 characters for a whole name; a folder's name may have as many bytes."""
    names = safe_names(["k" * 240, "k" * 239 + "l", "k"])
    assert len(set(names)) == 3 and max(map(len, names)) <= 125 and names[2] == "k"


def test_metrics_of_classes_with_odd_names_are_ones_that_mlflow_takes() -> None:
    named = safe_metrics(["val_kid/a b", 'val_kid/50% "x"', "val_kid/50% 'x'", "loss_d"])
    assert named["val_kid/a b"] == "val_kid/a b" and named["loss_d"] == "loss_d"
    odd = [named['val_kid/50% "x"'], named["val_kid/50% 'x'"]]
    assert len(set(odd)) == 2 and all(re.fullmatch(r"[\w/. :-]+", name) for name in odd)


@pytest.mark.parametrize("names", [("a_b_1", "a/b"), ("x__1", "x*"), ("class_2", "cat", "  ")])
def test_a_made_up_name_is_not_another_class_s_own(names: tuple[str, ...]) -> None:
    assert len(set(safe_names(names))) == len(names)


def test_rows_of_fidelity_become_metrics_overall_and_of_each_class() -> None:
    table = pd.DataFrame(
        [
            ("", "memorisation.p", 0.5, 10, 20, ""),
            ("a/b", "kid", np.nan, 1, 20, "needs 5 real images, has 1"),
            ("cat", "kept.blank", 0.9, 0, 20, ""),
        ],
        columns=list(fidelity.COLUMNS),
    )
    found = fidelity_points(table, ("cat", "a/b"), "fidelity/gan")
    assert [point.name for point in found] == [
        "fidelity/gan/memorisation.p",
        "fidelity/gan/kid/a_b_1",
        "fidelity/gan/kept.blank/cat",
    ]
    assert found[0] == Point("fidelity/gan/memorisation.p", 0.5) and np.isnan(found[1].value)
