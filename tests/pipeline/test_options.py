"""Options: documented under each field, named as in the code, and read without what computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from schemas import undocumented
from tiny import CONFIG

from augpipe.classifiers.losses import losses
from augpipe.classifiers.models import classifiers
from augpipe.classifiers.options import CLASSIFIERS, TRANSFORMS
from augpipe.classifiers.transforms import policies
from augpipe.core.errors import UserError
from augpipe.core.registry import kinds_in, load_kind
from augpipe.core.schema import Strict
from augpipe.data.imbalance import profiles
from augpipe.generators.options import FAMILIES
from augpipe.nn.augment import ops
from augpipe.nn.options import AUGMENTATIONS
from augpipe.pipeline.experiment import Experiment, Outline, build
from augpipe.synthetic import fidelity
from augpipe.synthetic.curation import checks
from augpipe.synthetic.fidelity import pixels
from augpipe.synthetic.options import CHECKS, FIGURES, LEAST_SIDES


@pytest.mark.parametrize(
    ("names", "registered"),
    [
        (CLASSIFIERS, classifiers),
        (AUGMENTATIONS, ops),
        (TRANSFORMS, policies),
        (CHECKS, checks),
        (FIGURES, fidelity.names()),
        (
            LEAST_SIDES,
            [name for name, figure in fidelity.metrics.items() if figure.function.__module__ == pixels.__name__],
        ),
    ],
    ids=["classifiers", "augmentations", "transforms", "checks", "figures", "figures of pixels"],
)
def test_the_names_in_options_are_those_of_the_functions(names: Any, registered: Any) -> None:
    assert list(names) == list(registered)


def every_class(of: type[Strict] = Strict) -> Iterator[type[Strict]]:
    """Every option class of the package, those of families and sources included."""
    for package in (FAMILIES, "augpipe.data.sources"):
        for kind in kinds_in(package):
            load_kind(package, kind, "kind")
    for one in of.__subclasses__():
        if one.__module__.startswith("augpipe."):
            yield one
        yield from every_class(one)


def test_every_option_is_documented_under_its_field() -> None:
    classes = set(every_class())
    assert {"Experiment", "Mix", "Runner", "Ada", "LDAM", "Columns", "Step"} <= {one.__name__ for one in classes}
    missing = [
        f"{one.__module__}.{one.__name__}.{name}"
        for one in classes
        for name, field in one.model_fields.items()
        if not field.description
    ]
    assert not missing


def test_the_schema_explains_every_option_of_every_kind() -> None:
    schema = Experiment.model_json_schema()
    assert not list(undocumented(schema))
    (generator,) = schema["properties"]["generators"]["patternProperties"].values()
    kinds = {one["title"]: one["properties"] for one in generator["anyOf"]}
    assert set(kinds) == set(kinds_in(FAMILIES))
    assert "Dropout" in kinds["acgan"]["dropout"]["description"]
    assert len(schema["properties"]["imbalance"]["anyOf"]) == len(list(profiles.items()))
    mix = schema["$defs"]["Mix"]["properties"]
    assert len(mix["loss"]["anyOf"]) == len(list(losses.items())) + 1  # a name alone


def test_the_outline_reads_what_the_experiment_reads() -> None:
    values = yaml.safe_load(CONFIG)
    assert Outline.model_validate(values).generators["acgan"].kind == "acgan"
    values["generators"]["acgan"]["augment"] = ["sharpen"]
    with pytest.raises(ValidationError, match=r"augment: unknown augmentation 'sharpen'"):
        Outline.model_validate(values)
    with pytest.raises(UserError, match=r"generators\.acgan: augment: unknown augmentation"):
        build(values)
    assert set(Outline.model_fields) == set(Experiment.model_fields)
