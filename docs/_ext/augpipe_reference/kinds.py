"""Pages of what a configuration can name: sources, families, losses, transforms, classifiers, metrics, checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from augpipe.classifiers import heads, losses, models, objective, options, scores, transforms
from augpipe.core.registry import kinds_in, load_kind
from augpipe.generators import families
from augpipe.generators.options import FAMILIES, GeneratorConfig
from augpipe.synthetic import curation, fidelity
from augpipe.synthetic import options as synthetic_options
from augpipe_reference.fields import field_table, label_of, nested
from augpipe_reference.markdown import docstring, document, prose, section, summary, table

SOURCES = "augpipe.data.sources"


def _first(item: Any) -> str:
    return prose(summary(docstring(item)))


def _own(model: type[BaseModel]) -> list[str]:
    """Fields that the class itself declares, new or with another default, besides its kind."""
    return [name for name in model.model_fields if name in model.__annotations__ and name != "kind"]


def _options(model: type[BaseModel], names: list[str]) -> str:
    """The table of the named fields, and a section for each model inside them."""
    inner: dict[str, type[BaseModel]] = {}
    for name in names:
        inner |= dict(nested(model.model_fields[name].annotation, name))
    parts = [field_table(model, names)] if names else ["No options."]
    for path, one in inner.items():
        about = prose(docstring(one))
        parts.append(section(f"`{path}`: {one.__name__}", about, field_table(one), level=3, label=label_of(one)))
    return "\n\n".join(part.rstrip() for part in parts)


def sources_page() -> str:
    """Each kind of source with its options."""
    sections = []
    for kind in kinds_in(SOURCES):
        module = load_kind(SOURCES, kind, "source")
        about = prose(docstring(module)), prose(docstring(module.Config))
        names = [name for name in module.Config.model_fields if name != "kind"]  # also inherited
        sections.append(section(f"`{kind}`", *about, _options(module.Config, names)))
    return document(
        "Sources",
        "`source: {kind: KIND, ...}` says where images come from. See [bring your "
        "data](../../how-to/bring-your-data.md).",
        *sections,
    )


def families_page() -> str:
    """Each generator family: its own options, after those that it shares with others."""
    configs = {kind: load_kind(FAMILIES, kind, "generator").Config for kind in families.names()}
    shared: list[type[BaseModel]] = []
    for config in configs.values():
        bases = [b for b in reversed(config.__mro__) if issubclass(b, GeneratorConfig)]
        shared += [base for base in bases if base not in shared and base is not config]
    sections = [
        section(
            f"Options of all families (`{base.__name__}`)"
            if base is GeneratorConfig
            else f"Shared options (`{base.__name__}`)",
            prose(docstring(base)),
            _options(base, _own(base)),
            label=_label(base),
        )
        for base in shared
    ]
    for kind, config in configs.items():
        module = load_kind(FAMILIES, kind, "generator")
        also = [f"[`{b.__name__}`](#{_label(b)})" for b in shared if issubclass(config, b)]
        sections.append(
            section(
                f"`{kind}`",
                prose(docstring(module)),
                prose(docstring(config)),
                f"Takes the options of {' and '.join(also)}, and these (new, or with another default):",
                _options(config, _own(config)),
                label=f"family-{kind}",
            )
        )
    intro = """`generators: {NAME: {kind: FAMILY, ...}}` names the generators of an experiment. See
[choose a generator](../../how-to/choose-a-generator.md)."""
    return document("Generator families", intro, *sections)


def _label(base: type[BaseModel]) -> str:
    return f"options-{base.__name__.lower()}"


def losses_page() -> str:
    """Each loss with its options; the shared ones once."""
    sections = [section("Shared options", prose(docstring(losses.Loss)), field_table(losses.Loss, ["scale"]))]
    for name, model in losses.losses.items():
        own = _own(model)
        table_of_own = field_table(model, own) if own else "No options of its own."
        sections.append(section(f"`{name}`", prose(docstring(model)), table_of_own))
    weights = section("Class weights", prose(docstring(objective.class_weights)))
    return document("Losses", prose(docstring(losses)), *sections, weights)


def heads_page() -> str:
    """Each head with its options."""
    sections = []
    for name, model in heads.heads.items():
        options = [key for key in model.model_fields if key != "kind"]
        sections.append(section(f"`{name}`", prose(docstring(model)), field_table(model, options)))
    return document("Heads", prose(docstring(heads)), *sections)


def _functions(title: str, intro: str, items: Iterable[tuple[str, Any]], name: str) -> str:
    rows = [(f"`{key}`", _first(item)) for key, item in items]
    return document(title, intro, table([name, "what it does"], rows))


def transforms_page() -> str:
    """The classical augmentation policies."""
    intro = prose(docstring(transforms))
    return _functions("Transforms", intro, transforms.policies.items(), "transform")


def checks_page() -> str:
    """The curation checks."""
    intro = prose(docstring(curation)) + "\n\nOptions: [`Curation`](configuration.md#config-curation)."
    return _functions("Curation checks", intro, curation.checks.items(), "check")


def classifiers_page() -> str:
    """The classifiers, and which of them have published weights."""
    rows = [
        (
            f"`{name}`",
            _first(build) or f"torchvision's `{name}` with a stem for small images.",
            "no" if name in options.WITH_WIDTH else "yes",
            "no" if name in options.UNNORMED else "yes",
        )
        for name, build in models.classifiers.items()
    ]
    header = ["classifier", "what it is", "published weights (`pretrained`)", "batch norm"]
    intro = prose(docstring(models)) + "\n\nOptions: [`ClassifierOptions`](configuration.md#config-classifieroptions)."
    return document("Classifiers", intro, table(header, rows))


def metrics_page() -> str:
    """The metrics of a classifier, as `scores.csv` names them."""

    def rows(items: Iterable[tuple[str, Callable[..., Any]]]) -> list[tuple[str, str]]:
        return [(f"`{name}`", _first(function)) for name, function in items]

    rare = f"Mean recall of the minority classes. They are: {_first(scores.minority)}"
    overall = [*rows(scores.metrics.items()), ("`minority_recall`", rare)]
    return document(
        "Metrics",
        "The figures of `scores.csv`, on validation and test images.",
        section("Overall", table(["metric", "what it is"], overall)),
        section("Per class", table(["metric", "what it is"], rows(scores.per_class.items()))),
    )


def fidelity_page() -> str:
    """The fidelity figures with the images that they need."""
    rows = [
        (
            ", ".join(f"`{name}`" for name in entry.gives),
            _first(entry.function),
            str(entry.least_real),
            str(entry.least),
            "yes" if entry.needs_train else "no",
        )
        for _, entry in fidelity.metrics.items()
    ]
    header = ["figures", "what they are", "real images needed", "synthetic images needed"]
    extra = ", ".join(f"`{name}`" for name in synthetic_options.EXTRA)
    return document(
        "Fidelity figures",
        prose(docstring(fidelity)),
        table([*header, "needs training images"], rows),
        f"A gate may also name: {extra}.",
        "Options: [`FidelityOptions`](configuration.md#config-fidelityoptions).",
    )
