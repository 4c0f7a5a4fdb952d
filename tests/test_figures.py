from __future__ import annotations

from flows.figures import flat, safe_names


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
