"""The Croissant description of a balanced set, against the rules of the specification (1.0) and the files that it
names, and read by mlcroissant.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readers import croissant

from augpipe.report.balanced_set import Balanced, publish
from augpipe.report.forms import FORMS

TYPES = {"sc:Dataset", "cr:FileObject", "cr:FileSet", "cr:RecordSet", "cr:Field"}
# Of schema.org, by the vocabulary of the context; all others must be terms of the context or have a prefix of it.
SCHEMA_ORG = {"name", "description", "distribution", "contentUrl", "contentSize", "encodingFormat", "sha256"}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value but those of the context and of inline data."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("@context", "data"):
                yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


@pytest.mark.parametrize("form", FORMS)
def test_a_description_follows_the_specification(
    form: str, balanced: Callable[..., Balanced], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    publish(balanced(), out, form=form)
    about = json.loads((out / "croissant.json").read_text())
    terms = about["@context"]
    assert about["@type"] == "sc:Dataset" and about["conformsTo"].endswith("/croissant/1.0")
    parts = list(nodes(about))
    for part in parts:
        for key in part:
            known = key.startswith("@") or key in terms or key in SCHEMA_ORG
            assert known or key.partition(":")[0] in terms, key
        if "@type" in part:
            assert part["@type"] in TYPES and part["name"]
    ids = [part["@id"] for part in parts if "@type" in part and "@id" in part]
    assert len(set(ids)) == len(ids)
    for part in parts:  # what is referred to exists
        if set(part) == {"@id"}:
            assert part["@id"] in ids
    for entry in about["distribution"]:
        if entry["@type"] == "cr:FileSet":
            files = [p.relative_to(out).as_posix() for p in out.rglob("*.*") if p.is_file()]
            assert fnmatch.filter(files, entry["includes"])
        else:
            data = (out / entry["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert entry["contentSize"] == f"{len(data)} B"
    (table,) = [e for e in about["distribution"] if e["encodingFormat"] == "text/csv"]
    (images,) = [r for r in about["recordSet"] if r["@id"] == "images"]
    columns = [field["source"]["extract"]["column"] for field in images["field"]]
    assert columns == list(pd.read_csv(out / table["contentUrl"]).columns)
    (classes,) = [r for r in about["recordSet"] if r["@id"] == "classes"]
    assert [row["classes/name"] for row in classes["data"]] == ["cat", "dog", "eel"]
    described = croissant(out / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    key = {"hf": "images/label"}.get(form, "images/class")
    assert [row[key].decode() for row in described.records("images")] == ["cat"] * 4 + ["dog"] * 4 + ["eel"] * 4 + [
        "cat"
    ] * 2 + ["dog"] * 5
    if form in ("folder", "hf"):
        assert {row["pictures/image"].size for row in described.records("pictures")} == {(16, 16)}
    assert not [record for record in caplog.records if "not standard" in record.message]  # its context


def test_it_counts_what_the_card_counts(balanced: Callable[..., Balanced], tmp_path: Path) -> None:
    publish(balanced(), tmp_path / "out")
    about = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert about["name"] == "by_hand-filled_up"
    assert about["description"].startswith("12 real training images and 7 synthetic images of 3 classes")
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert about["rai:dataLimitations"] == card["limits"]
