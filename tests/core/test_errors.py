from __future__ import annotations

import pickle

from augpipe.core.errors import UserError, unknown


def test_unknown_with_nothing_to_choose() -> None:
    assert str(unknown("x", "y", [])) == "unknown x 'y'; there is none"


def test_a_near_spelling_is_offered_and_a_far_one_is_not() -> None:
    assert "did you mean 'acgan'" in str(unknown("generator", "acgn", ["acgan", "smote"]))
    assert "did you mean" not in str(unknown("generator", "xyz", ["acgan", "smote"]))


def test_case_is_no_far_spelling_and_of_many_names_the_close_ones_are_shown() -> None:
    assert "did you mean 'acgan'" in str(unknown("generator", "ACGAN", ["acgan", "smote"]))
    names = ["fid", "fids", *(f"other_{i}" for i in range(30))]
    assert str(unknown("figure", "fidd", names)) == (
        "unknown figure 'fidd' (did you mean 'fid'?); the closest of 32: fid, fids"
    )
    assert "other_29" in str(unknown("figure", "zzz", names))


def test_it_comes_back_from_a_worker_process_as_it_was() -> None:
    back = pickle.loads(pickle.dumps(UserError("one line")))
    assert type(back) is UserError and str(back) == "one line"
