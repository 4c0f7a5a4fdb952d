"""`augpipe export`: a model for programs without augpipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from augpipe.export_formats import SUFFIXES, Format, check_format

from .cli_models import check_file, model_place, require_local
from .command_line import Json
from .entry import handle_interrupts
from .output import print_json, print_line

TRAINED = "checkpoint.pt"  # of `augpipe train`


def export(
    model: str,
    /,
    *,
    format: Format,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    generator: str | None = None,
    json: Json = False,
) -> None:
    """Export a trained classifier or generator as a file for programs without augpipe.

    Parameters
    ----------
    model
        The out folder of a run (its best classifier) or of `train`, a file of a run's models/, or a model in MLflow.
    format
        torchscript: for torch.jit.load, in C++ too; torch-export: for torch.export.load; onnx: for ONNX Runtime and
        others, needs augpipe[onnx]. The file is read back and compared with the model.
    out
        New file, .pt for torchscript, .pt2 for torch-export and .onnx for onnx (default: MODEL with that suffix in
        the working directory).
    generator
        Name of a generator of the run, to export that instead of the classifier.
    json
        Print only JSON: `augpipe` (classifier or generator), `classes`, `inputs`, `outputs`, and `out`, the file.
    """
    handle_interrupts()
    check_format(format, out)
    if out is not None:
        check_file(out)
    require_local(model)
    wanted = generator is not None or (Path(model) / TRAINED).is_file()
    with model_place(model, "generator" if wanted else "classifier", generator) as place:
        check_exportable(place)
        from augpipe import serving
        from augpipe.core.home import home
        from augpipe.core.store import Store
        from augpipe.export import export as write

        file = out or Path(f"{place.stem}-{format}{SUFFIXES[format]}")
        check_format(format, file)
        about = write(serving.load(place, Store(home() / "store").images), format, file)
    if json:
        print_json({**about, "out": str(file)})
    else:
        print_line(f"{about['augpipe']}: {file}")


def check_exportable(place: Path) -> None:
    """UserError for what is no model, and for a family that cannot be exported; without importing torch."""
    from augpipe.generators.preview import check_exported
    from augpipe.pipeline.model_places import check_model, config_of, head_of

    head = head_of(place)
    check_model(place, head)
    check_exported(config_of(head))
