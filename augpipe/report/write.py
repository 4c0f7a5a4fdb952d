"""Write the out folder of a run atomically, with the files listed in the README."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from augpipe.core.csv_files import write_csv
from augpipe.core.files import beside, write_json
from augpipe.core.images import grid
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.experiment import dump
from augpipe.pipeline.schema_file import schema_comment
from augpipe.report.attributes import attribute_scores
from augpipe.report.model_card import FILE as CARD
from augpipe.report.model_card import model_card
from augpipe.report.out import check_out
from augpipe.report.predictions import write_predictions
from augpipe.report.results import Results
from augpipe.report.saved_models import write_models

# Folder of models, new folder → name of a model's file → what is added to its entry in summary.json.
Export = Callable[[Path, Path], Mapping[str, Mapping[str, str]]]


def write(results: Results, out: Path, export: Export | None = None) -> None:
    """Write every file of a run to `out` atomically. export: writes the models for other programs too."""
    # Imported late: plotting libraries are slow to import, and config errors should appear first.
    from augpipe.report.page import page
    from augpipe.report.quiz import write_quizzes

    check_out(out)  # again: the folder may have changed since the run started
    with beside(out) as draft:
        (draft / "samples").mkdir(parents=True)
        tables = {
            "scores.csv": results.scores,
            "fidelity.csv": results.quality.fidelity,
            "quarantine.csv": results.quarantine,
        }
        if len(results.pairs):
            tables["differences.csv"] = results.pairs
        if isinstance(results.confirmed, Confirmed):
            tables["confirm.csv"] = results.confirmed.scores
        if results.attributes is not None:
            scores = attribute_scores(results.attributes, results.predictions)
            tables["attributes.csv"] = scores
        texts = {name: write_csv(table, draft / name) for name, table in tables.items()}
        texts["predictions.csv"] = write_predictions(results.predictions, draft / "predictions.csv")
        models = write_models(results.models, draft / "models")
        if export is not None:
            entries = export(draft / "models", draft / "exported")
            models = {file: {**about, **entries.get(file, {})} for file, about in models.items()}
        card = model_card(results, models)
        (draft / "models" / CARD).write_text(card, encoding="utf-8")
        summary = {**results.summary(), "models": models, "escaped": texts}
        write_json(draft / "summary.json", summary)
        text = schema_comment(out) + dump(results.requested)
        (draft / "experiment.yaml").write_text(text, encoding="utf-8")
        for generator in results.generators:
            images = generator.samples.images
            columns = max(1, len(images) // len(results.classes))
            picture = grid(images, columns, scale=max(1, 48 // images.shape[2]))
            picture.save(draft / "samples" / f"{generator.name}.png")
            # Generator names cannot contain ~.
            triples = results.quality.galleries[generator.name].images
            if len(triples):
                picture = grid(triples, 3, scale=max(1, 48 // triples.shape[2]))
                picture.save(draft / "samples" / f"{generator.name}~nearest.png")
        write_quizzes(results, draft)
        (draft / "report.html").write_text(page(results), encoding="utf-8")
