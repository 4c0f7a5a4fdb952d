"""Marks of synthetic pictures: seen in the file by others' readers, not in the pixels."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from augpipe.core import marks

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def opened(pixels: np.ndarray, **options: object) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, **options)
    return Image.open(stream)


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 3)])
def test_a_mark_changes_no_pixel(shape: tuple[int, ...]) -> None:
    pixels = noise(0, *shape)
    marked = opened(pixels, format="PNG", pnginfo=marks.synthetic('größe "x" <y>', "ab" * 32))
    assert np.array_equal(np.asarray(marked), pixels)
    assert marks.is_synthetic(marked.info)
    assert marked.info["Generator"] == 'größe "x" <y>' and marked.info["Checkpoint"] == "ab" * 32


def test_its_xmp_is_xml_with_the_digital_source_type() -> None:
    marked = opened(noise(0, 9, 9), format="PNG", pnginfo=marks.synthetic("a&b", "0" * 64))
    tree = ElementTree.fromstring(marked.info["xmp"])
    (found,) = [node.attrib[IPTC] for node in tree.iter() if IPTC in node.attrib]
    assert found.endswith("/digitalsourcetype/trainedAlgorithmicMedia")


def test_marks_of_others_are_seen_and_a_photograph_has_none() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">compositeWithTrainedAlgorithmicMedia</x:xmpmeta>'
    assert marks.is_synthetic(opened(noise(0, 9, 9), format="JPEG", xmp=packet).info)
    assert not marks.is_synthetic(opened(noise(0, 9, 9), format="JPEG", xmp=b"<x/>").info)
    assert not marks.is_synthetic(opened(noise(0, 9, 9), format="PNG").info)
