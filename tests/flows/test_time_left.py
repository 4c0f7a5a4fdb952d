"""The time that a run still takes."""

from __future__ import annotations

from flows.time_left import CLASSIFIERS, GENERATORS, REFERENCES, Current, Left, Remaining


def test_the_time_left() -> None:
    """Of tasks that ended, else by how far one is; a classifier's before any has run by the reference classifier's."""
    left = Remaining([(REFERENCES, ""), (GENERATORS, "a"), (GENERATORS, "b"), *[(CLASSIFIERS, "")] * 4])
    assert left.seconds([]) is None
    running = [Current((REFERENCES, ""), 5.0, whole=20.0, left=15.0)]  # and four classifiers of 20
    assert left.seconds(running) == Left(95.0, False)  # how long generators take is not known
    left.finish((REFERENCES, ""))
    left.measured((REFERENCES, ""), 20.0)
    running = [Current((GENERATORS, "a"), 30.0, whole=60.0, left=30.0), Current((CLASSIFIERS, ""), 10.0)]
    # Two generators of 60 s (b as a) and four classifiers of 20, less 40 that are done; two run at a time.
    assert left.seconds(running) == Left((120 + 80 - 40) / 2, True)
    for key in ((GENERATORS, "a"), (GENERATORS, "b"), *[(CLASSIFIERS, "")] * 4):
        left.finish(key)
    assert left.seconds([]) is None
