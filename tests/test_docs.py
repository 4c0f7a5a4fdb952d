"""The documentation names settings and files that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augpipe.pipeline.experiment import Experiment

ROOT = Path(__file__).resolve().parents[1]
SET = re.compile(r"--set[\s=\\]+[\"'`]?([A-Za-z_][\w.]*)=")
PLACEHOLDER = "key.key"
FILE = re.compile(r"`((?:augpipe|configs|docs|flows|tests)/[\w./-]+)")
WRITTEN = {"augpipe/generators/models/hinge.py"}  # by the reader of a tutorial


def pages() -> list[Path]:
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *docs, *sorted((ROOT / "configs").rglob("*.yaml"))]


def below(schema: Any, definitions: dict[str, Any], step: str) -> Iterator[Any]:
    """Schemas of a key, or of an entry of a list or mapping, in any branch of a union."""
    if "$ref" in schema:
        yield from below(definitions[schema["$ref"].rpartition("/")[2]], definitions, step)
    for branch in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from below(branch, definitions, step)
    if step in schema.get("properties", {}):
        yield schema["properties"][step]
    for named in schema.get("patternProperties", {}).values():
        # The generators of the examples have the names of their families.
        yield from [b for b in named.get("anyOf", ()) if b.get("title") == step] or [named]
    for entry in ("additionalProperties", "items"):
        if isinstance(schema.get(entry), dict):
            yield schema[entry]


def test_every_setting_of_an_example_exists() -> None:
    schema = Experiment.model_json_schema()
    examples = [(page, key) for page in pages() for key in SET.findall(page.read_text("utf-8"))]
    assert len(examples) > 15
    for page, key in examples:
        nodes = [schema]
        for step in key.split(".") if key != PLACEHOLDER else ():
            nodes = [found for node in nodes for found in below(node, schema["$defs"], step)]
        assert nodes, f"{page.relative_to(ROOT)}: --set {key}= does not exist"


def test_every_file_that_is_named_exists() -> None:
    named = [ROOT / "CONTRIBUTING.md", *pages()]
    files = {(page, name) for page in named for name in FILE.findall(page.read_text("utf-8"))}
    assert len(files) > 100
    missing = [f"{page.name}: {name}" for page, name in files if name not in WRITTEN and not (ROOT / name).exists()]
    assert not missing
