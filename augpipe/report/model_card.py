"""The model card of a run's `models/`: Markdown with Hugging Face's metadata block on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import yaml

from augpipe.pipeline.confirm import Confirmed
from augpipe.report.balanced_set import escaped
from augpipe.report.quality_section import HEADLINE

if TYPE_CHECKING:
    from augpipe.report.results import Results

FILE: Final = "README.md"  # where Hugging Face's hub looks for a card
LIMITS: Final = (
    "The classifier was chosen on validation among arms and seeds, so its figure on validation is too high; the test "
    "figure of its arm is not.",
    "Both were trained on the images of one source. On images of another hospital, camera or population they must be "
    "tested first.",
    "Generators represent only the training images that they learned from, with their gaps and biases. Their images "
    "must be marked as synthetic wherever they are passed on.",
    "A memorisation test without a finding does not prove that a generator keeps the training images private.",
)


def model_card(results: Results, models: Mapping[str, Mapping[str, Any]]) -> str:
    """The card of the models that `write_models` wrote or could not write (models: its result)."""
    experiment = results.experiment
    block = yaml.safe_dump(_metadata(results, models), sort_keys=False, allow_unicode=True, width=120)
    source = experiment.source.kind
    train = results.splits["train"]
    counts = ", ".join(f"{escaped(train.classes[c])} {n}" for c, n in train.counts().items())
    lines = [
        f"---\n{block}---",
        "",
        f"# Models of {escaped(experiment.name)}",
        "",
        "Each file holds class names, image options and weights, and runs no code when it is read. `augpipe predict` "
        "takes the classifier, `augpipe generate` a generator.",
        "",
        "| file | content | seed | why this one |",
        "| --- | --- | --- | --- |",
        *(_row(file, about) for file, about in models.items()),
        "",
        "## Training data",
        "",
        f"{sum(train.counts().values())} images of a source of kind `{source}` (fingerprint {results.fingerprint}), "
        f"reduced to {train.spec.size}x{train.spec.size} pixels, {train.spec.channels} channel(s): {counts}.",
    ]
    lines += ["", "## Figures", "", *_classifier(results, models), *_generators(results, models)]
    lines += ["", "## Limits", "", *(f"- {line}" for line in LIMITS), ""]
    return "\n".join(lines)


def _metadata(results: Results, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Keys of https://huggingface.co/docs/hub/model-cards; the license is the owner's to add."""
    kinds = {str(about["kind"]) for about in models.values()}
    tags = ["augpipe", "imbalanced-data", *(["synthetic-images"] if "generator" in kinds else [])]
    metadata: dict[str, Any] = {"library_name": "augpipe", "tags": tags}
    arm = _arm_of_classifier(models)
    if arm is None:
        return {**metadata, "pipeline_tag": "unconditional-image-generation"}
    value = round(_mean(results, arm, "macro_recall"), 4)
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": results.experiment.source.kind, "name": results.experiment.name, "split": "test"},
        "metrics": [{"type": "recall", "name": "macro recall, mean over seeds", "value": value}],
    }
    index = [{"name": results.experiment.name, "results": [result]}]
    return {**metadata, "pipeline_tag": "image-classification", "metrics": ["recall"], "model-index": index}


def _arm_of_classifier(models: Mapping[str, Mapping[str, Any]]) -> str | None:
    arms = [str(about["name"]) for about in models.values() if about["kind"] == "classifier"]
    return arms[0] if arms else None


def _row(file: str, about: Mapping[str, Any]) -> str:
    what = f"{about['kind']} {'of arm ' if about['kind'] == 'classifier' else ''}{escaped(about['name'])}"
    why = escaped(about.get("not_written", about["chosen"]))
    return f"| `{file}` | {what} | {about['seed']} | {why} |"


def _classifier(results: Results, models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    arm = _arm_of_classifier(models)
    if arm is None:
        return []
    rows = [f"| {escaped(name)} | {100 * _mean(results, arm, 'recall', name):.1f} |" for name in results.classes]
    return [
        f"Classifier, arm {escaped(arm)}, on test, as the mean over seeds: macro recall "
        f"{100 * _mean(results, arm, 'macro_recall'):.1f}.",
        "",
        "| class | recall |",
        "| --- | --- |",
        *rows,
    ]


def _mean(results: Results, arm: str, metric: str, name: str = "") -> float:
    """Mean test metric of an arm, in the confirm stage if the classifier is of it."""
    confirmed = results.confirmed
    if isinstance(confirmed, Confirmed) and confirmed.outcome.decision != "undecided":
        means = confirmed.means(metric, name)
        if arm in means:
            return means[arm]
    return results.mean(arm, metric, name)


def _generators(results: Results, models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    table = results.quality.fidelity
    names = [str(about["name"]) for about in models.values() if about["kind"] == "generator"]
    lines = []
    for name in names:
        rows = table[(table.generator == name) & (table["class"] == "") & table.metric.isin(HEADLINE)]
        figures = [f"| {row.metric} | {_number(row.value)} |" for row in rows.itertuples()]
        lines += ["", f"Generator {escaped(name)}, its images against validation, as the mean over seeds:", ""]
        lines += ["| figure | value |", "| --- | --- |", *figures]
    return lines


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.4g}"
