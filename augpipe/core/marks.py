"""Marks in picture files that say they are synthetic: PNG text, XMP and C2PA with IPTC's digital source type.

The pixels are the same with a mark and without, and no decoder needs to know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo

# https://cv.iptc.org/newscodes/digitalsourcetype/: created by a model that was trained on sampled content.
SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP_KEY: Final = "XML:com.adobe.xmp"  # keyword of XMP in PNG (XMP specification, part 3)
MODEL_WORDS: Final = (b"trainedAlgorithmicMedia", b"TrainedAlgorithmicMedia")  # ours, and composites of such pictures
_XMP: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    "Iptc4xmpExt:DigitalSourceType={kind} xmp:CreatorTool={tool}/></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)


def synthetic(generator: str, checkpoint: str) -> PngInfo:
    """The mark of a PNG file. generator: its family or name. checkpoint: SHA-256 of its checkpoint."""
    text = PngInfo()
    text.add_text("Synthetic", "yes")
    text.add_itxt("Generator", generator)
    text.add_text("Checkpoint", checkpoint)
    tool = quoteattr(f"augpipe {generator} {checkpoint[:20]}")
    text.add_itxt(XMP_KEY, _XMP.format(kind=quoteattr(SOURCE_TYPE), tool=tool))
    return text


def is_synthetic(info: Mapping[Any, Any], embedded: Iterable[bytes] = ()) -> bool:
    """Whether the metadata of an opened picture (Pillow's `info`) say that a trained model made it.

    embedded: other metadata of the file, such as a C2PA manifest, whose signature is not verified.
    """
    if info.get("Synthetic") == "yes":
        return True
    packets = (info.get(key) for key in ("xmp", XMP_KEY))
    texts = [text.encode() if isinstance(text, str) else text for text in packets if text]
    texts += embedded
    return any(word in text for text in texts if isinstance(text, bytes) for word in MODEL_WORDS)


def manifests(opened: Image.Image) -> list[bytes]:
    """Where a PNG or JPEG file has its C2PA manifest (C2PA 2.2, appendix A): `caBX` chunks, APP11 segments."""
    chunks = [data for name, data, *_ in getattr(opened, "private_chunks", ()) if name == b"caBX"]
    return chunks + [data for name, data in getattr(opened, "applist", ()) if name == "APP11"]
