from __future__ import annotations

import numpy as np

from augpipe.data.facts import CHUNK, FactsBuffer
from augpipe.data.sources._pictures import Read


def picture(i: int, colour: tuple[int, int, int] | None = None) -> Read:
    channels = (i % 256,) if colour is None else colour
    image = np.stack([np.full((8, 8), level, np.uint8) for level in channels])
    thumb = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
    mode, form = ("L", "PNG") if colour is None else ("RGB", "JPEG")
    return Read(image, thumb, i.to_bytes(16, "big"), 10 + i, 20, mode, form, ("odd",) if i == 1 else ())


def test_each_row_has_the_facts_of_its_own_picture_over_several_chunks() -> None:
    buffer = FactsBuffer(CHUNK + 5)
    pictures = [picture(i, (90, 60, 70) if i == 2 else None) for i in range(CHUNK + 3)]
    for i, one in enumerate(pictures):
        buffer.add(2 * i, one)
    facts = buffer.facts()
    assert len(facts.width) == len(facts.hashes) == CHUNK + 3, "only those that were added"
    assert buffer.rows[: buffer.n].tolist() == list(range(0, 2 * len(pictures), 2))
    assert facts.width.tolist() == [one.width for one in pictures] and set(facts.height) == {20}
    assert facts.mode[:4].tolist() == ["L", "L", "RGB", "L"] and facts.format[2] == "JPEG"
    assert [value.tobytes() for value in facts.content] == [one.content for one in pictures]
    assert all(np.array_equal(facts.thumbs[i], pictures[i].thumb) for i in (0, CHUNK - 1, CHUNK, CHUNK + 2))
    assert facts.tints[2].tolist() == [30, -10] and not facts.tints[[0, 1, 3]].any()
    assert dict(buffer.notes) == {"odd": 1}
    # A small thumbnail is the mean of 2x2 pixels.
    small = np.round(pictures[CHUNK].thumb.reshape(16, 2, 16, 2).mean((1, 3)))
    assert np.array_equal(facts.small_thumbs()[CHUNK], small)


def test_pictures_of_other_colours_are_no_pair() -> None:
    buffer = FactsBuffer(3)
    for i, colour in enumerate([(90, 60, 70), (100, 60, 68), (103, 60, 70)]):  # red - green: 30, 40, 43
        buffer.add(i, picture(i, colour))
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    assert buffer.facts().of_one_colour(pairs).tolist() == [[0, 1], [1, 2]]


def test_no_picture_has_no_facts() -> None:
    facts = FactsBuffer(4).facts()
    assert len(facts.width) == len(facts.mode) == len(facts.small_thumbs()) == 0
