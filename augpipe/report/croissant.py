"""A balanced set as Croissant 1.0 (MLCommons, http://mlcommons.org/croissant/1.0):
JSON-LD that data loaders and search read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from augpipe.core.files import digest
from augpipe.report.forms import ARRAYS

VERSION: Final = "http://mlcommons.org/croissant/1.0"
# The context that the specification prescribes (its appendix 1).
CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Form of a set → pattern and type of its files, apart from the table.
FILES: Final = {
    "folder": ("*/*.png", "image/png"),
    "hf": ("*/*.png", "image/png"),
    "dicom": ("*/*.dcm", "application/dicom"),
    "webdataset": ("images-*.tar", "application/x-tar"),
}
PNG: Final = "image/png"
MEANING: Final = {
    "file": "Path of the image",
    "file_name": "Path of the image",
    "class": "Class of the image",
    "label": "Class of the image",
    "origin": "real or synthetic",
    "id": "Name of the image in the source, or of a synthetic image",
    "group": "Images of one group (a patient, or one and those made from it) belong in one split",
    "parent": "The real image that a synthetic one was made from",
    "generator": "Generator of a synthetic image",
    "checkpoint": "SHA-256 of the generator's checkpoint",
}


def croissant(card: dict[str, Any], form: str, table: Path, out: Path) -> dict[str, Any]:
    """The description of the set in the folder `out`. card: its data card. table: the file with a row an image."""
    name = f"{card['name']}-{card['arm']}"
    real, synthetic = sum(card["made_from"]["real"].values()), sum(card["synthetic"].values())
    resources: list[dict[str, Any]] = [_file(table, "text/csv")]
    if form == "npz":
        resources.append(_file(out / ARRAYS, "application/octet-stream"))
    else:
        pattern, kind = FILES[form]
        resources.append(
            {"@type": "cr:FileSet", "@id": "files", "name": "files", "encodingFormat": kind, "includes": pattern}
        )
    records = [_labels(list(card["synthetic"])), _rows(table)]
    if form in FILES and FILES[form][1] == PNG:
        records.append(_pictures())
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": f"{real} real training images and {synthetic} synthetic images of "
        f"{len(card['synthetic'])} classes, the latter from {card['generator']['kind']}. card.md says how they were "
        "made and checked.",
        "conformsTo": VERSION,
        "isLiveDataset": False,
        "rai:dataLimitations": list(card["limits"]),
        "distribution": resources,
        "recordSet": records,
    }


def _file(path: Path, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": digest(path),
    }


def _field(records: str, name: str, kind: str, source: dict[str, Any], about: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": about,
        "dataType": kind,
        "source": source,
    }


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    name = {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes, in label order.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/name"},
        "field": [name],
        "data": [{"classes/name": label} for label in classes],
    }


def _rows(table: Path) -> dict[str, Any]:
    columns = pd.read_csv(table, nrows=0).columns
    fields = [
        _field(
            "images",
            name,
            "sc:Float" if name.startswith("check_") else "sc:Text",
            {"fileObject": {"@id": table.name}, "extract": {"column": name}},
            MEANING.get(name, f"Column {name} of {table.name}"),
        )
        for name in columns
    ]
    for entry in fields:
        if entry["name"] in ("class", "label"):
            entry["references"] = {"field": {"@id": "classes/name"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "A row for each image, with its lineage.",
        "key": {"@id": "images/id"},
        "field": fields,
    }


def _pictures() -> dict[str, Any]:
    fields = [
        _field("pictures", name, kind, {"fileSet": {"@id": "files"}, "extract": {"fileProperty": part}}, about)
        for name, kind, part, about in (
            ("path", "sc:Text", "fullpath", "Path of the file"),
            ("image", "sc:ImageObject", "content", "The picture"),
        )
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "pictures",
        "name": "pictures",
        "description": "The pictures.",
        "field": fields,
    }
