"""The configuration page: `Experiment` and the models inside it; and the imbalance profiles."""

from __future__ import annotations

from pydantic import BaseModel

from augpipe.data.imbalance import profiles
from augpipe.pipeline.experiment import Experiment
from augpipe_reference.fields import field_table, label_of, nested
from augpipe_reference.markdown import docstring, document, prose, section, summary

INTRO = """A configuration is one YAML file. augpipe checks it as a whole before any work starts: an unknown key, a
misspelt kind or a value out of range stops the command with one line that lists the valid choices.
`--set key.key=value key.key=value` changes values on the command line."""


def configured() -> dict[type[BaseModel], str]:
    """`Experiment` and the models nested in it, breadth first, with their key paths."""
    found: dict[type[BaseModel], str] = {}
    queue: list[tuple[str, type[BaseModel]]] = [("", Experiment)]
    for path, model in queue:  # grows while it is read
        if model in found:
            continue
        found[model] = path
        for name, field in model.model_fields.items():
            queue += nested(field.annotation, f"{path}.{name}".lstrip("."))
    return found


def page() -> str:
    """Every field of every configured model."""
    sections = [
        section(
            f"`{path}`: {model.__name__}" if path else "The experiment",
            prose(docstring(model)),
            field_table(model),
            label=label_of(model),
        )
        for model, path in configured().items()
    ]
    return document("Configuration", INTRO, *sections)


def imbalance_page() -> str:
    """The profiles of `imbalance`."""
    intro = """`imbalance: {profile: NAME, ...}` says how the training images become imbalanced. Validation and test
images are never thinned."""
    sections = []
    for name, model in profiles.items():
        own = [key for key in model.model_fields if key != "profile"]
        about = prose(docstring(model)), summary(prose(docstring(model.target)))
        sections.append(
            section(
                f"`{name}`",
                about[0],
                f"Images kept of a class: {about[1]}",
                field_table(model, own) if own else "No options.",
            )
        )
    return document("Imbalance profiles", intro, *sections)
