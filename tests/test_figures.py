from __future__ import annotations

import re

from flows.figures import flat, safe_metrics, safe_names


def test_nested_values_become_dotted_names() -> None:
    values = {
        "a": {"b": 1, "c": [1, 2]},
        "arms": [{"name": "x", "mix": {}}, {"name": "y"}],
        "n": None,
    }
    assert flat(values) == {
        "a.b": 1, "a.c": "[1, 2]", "arms.0.name": "x", "arms.0.mix": {}, "arms.1.name": "y", "n": None,
    }  # fmt: skip


def test_class_names_become_names_mlflow_takes_and_stay_different() -> None:
    names = safe_names(["cat", "a/b", "a_b", "größe", "<b>", "", "cat "])
    assert names[0] == "cat" and len(set(names)) == 7
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz_0123456789") for n in names)


def test_metrics_of_classes_with_odd_names_are_ones_that_mlflow_takes() -> None:
    named = safe_metrics(["val_kid/a b", 'val_kid/50% "x"', "val_kid/50% 'x'", "loss_d"])
    assert named["val_kid/a b"] == "val_kid/a b" and named["loss_d"] == "loss_d"
    odd = [named['val_kid/50% "x"'], named["val_kid/50% 'x'"]]
    assert len(set(odd)) == 2 and all(re.fullmatch(r"[\w/. :-]+", name) for name in odd)
