"""The config's JSON schema, of which a deployment's form is made:
it takes what the config takes, and refuses the rest.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema.validators import validator_for
from schemas import undocumented

from augpipe.classifiers.losses import losses
from augpipe.core.yaml_loader import read_yaml
from augpipe.data.imbalance import profiles
from augpipe.data.sources import sources
from augpipe.generators import families
from augpipe.pipeline.experiment import Experiment, build, load

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Experiment.model_json_schema()
VALIDATOR = validator_for(SCHEMA)(SCHEMA)


def told(path: str) -> dict[str, Any]:
    return load(ROOT / path).model_dump(mode="json")


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in (ROOT / "configs").rglob("*.yaml")))
def test_every_config_passes_as_dumped_and_comes_back_equal(path: str) -> None:
    values = told(path)
    VALIDATOR.validate(values)
    VALIDATOR.validate(read_yaml((ROOT / path).read_text(), path))  # as editors do
    assert build(json.loads(json.dumps(values))) == load(ROOT / path)


def names(schema: Any, key: str) -> set[str]:
    return {one["properties"][key]["const"] for one in schema["anyOf"] if "properties" in one}


def test_the_form_names_every_kind() -> None:
    VALIDATOR.check_schema(SCHEMA)
    properties = SCHEMA["properties"]
    assert names(properties["source"], "kind") == set(sources())
    (generator,) = properties["generators"]["patternProperties"].values()
    assert names(generator, "kind") == set(families.names())
    assert names(properties["imbalance"], "profile") == set(profiles)
    mix = SCHEMA["$defs"]["Mix"]["properties"]
    assert names(mix["loss"], "kind") == set(losses)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generators.acgan", {"kind": "acgan", "widht": 1}),
        ("generators.acgan", {"kind": "nope"}),
        ("source", {"kind": "folder"}),
        ("imbalance", {"profile": "step", "keep": 7}),
        ("seeds", "many"),
        ("name", "../x"),
        ("colour", 1),
    ],
)
def test_what_the_config_refuses_the_form_refuses(key: str, value: Any) -> None:
    values = copy.deepcopy(told("configs/digits.yaml"))
    *way, last = key.split(".")
    at = values
    for step in way:
        at = at[step]
    at[last] = value
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(values)
    with pytest.raises(ValueError):
        build(values)


def test_prefects_form_explains_every_option() -> None:
    """What Prefect's page makes the deployment's form of."""
    from prefect.utilities.callables import parameter_schema

    from flows.refresh import refresh

    form = parameter_schema(refresh.fn).model_dump()
    options = form["definitions"]["Experiment"]["properties"]
    assert set(options) == set(Experiment.model_fields)
    assert [name for name, own in options.items() if not own.get("description")] == []
    assert not list(undocumented(form["definitions"]))
