"""`augpipe generate` and `augpipe predict`: use the models that a run, a training or MLflow holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

from cyclopts import Parameter

from augpipe.core.errors import UserError, exists, near_name, several
from augpipe.core.home import home

from .command_line import Certificates, Form, Json, Out, PrivateKey
from .entry import handle_interrupts
from .output import is_narrow, print_json, print_line, print_text, report, writing

if TYPE_CHECKING:
    import pandas as pd

    from augpipe.synthetic.draw import Filter

ARCHIVE: Final = b"PK\3\4"  # the first bytes of a file that torch writes
ADDRESSES: Final = ("models:/", "runs:/")  # of MLflow


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Options of `augpipe generate`."""

    counts: Annotated[tuple[str, ...], Parameter(negative=())]
    """How many of which class: `--counts "3=500,7=200"`, or one number for every class."""
    out: Out = None
    """New folder for the images (default: generated/GENERATOR-seedN below AUGPIPE_HOME)."""
    generator: str | None = None
    """Name of the generator, if the run has several."""
    seed: int = 0
    """Another seed gives other images; the same one the same."""
    truncation: float = 1.0
    """Above 0, at most 1: latents this much nearer to their mean, for more typical and less varied images. Not for
    families without latents."""
    format: Form = "folder"
    """folder: class folders and manifest.csv; npz: one array file; webdataset: tar shards; hf: folder with
    metadata.csv for Hugging Face datasets; dicom: class folders of DICOM files, (0008,001C) Synthetic Data is YES."""
    certificates: Certificates = None
    """Sign each PNG file with Content Credentials (C2PA): file of the signer's certificate and its issuers, PEM. Needs
    augpipe[c2pa]."""
    key: PrivateKey = None
    """File of the signer's private key, PEM without a passphrase."""
    checked: Annotated[bool, Parameter(negative="--unchecked")] = False
    """Keep only images that pass the checks of the run (`curation` in its experiment.yaml), drawing missing ones again;
    MODEL must be the run's out folder, and its images still be there. Default: every image is kept."""
    json: Json = False
    """Print only JSON: `generator`, `seed`, `counts` by class, `format`, `checked`, `short` (class: images missing
    because too few passed), and `out`, the new folder."""

    def check(self) -> None:
        """UserError for options that no generator can have."""
        if self.format == "dicom":
            from augpipe.report.dicom_files import require_dicom

            require_dicom()
        if self.seed < 0:
            raise UserError(f"--seed must be 0 or more; got {self.seed}")
        if not 0 < self.truncation <= 1:
            raise UserError(f"--truncation must be above 0 and at most 1; got {self.truncation:g}")
        self.signing()
        if self.out is not None:
            from augpipe.report.out import check_new

            check_new(self.out)

    def check_model(self, place: Path) -> None:
        """UserError for options that do not fit the model, as far as its file says so without importing torch."""
        from augpipe.core.counts import check_available, parse_counts
        from augpipe.core.files import check_space
        from augpipe.generators.preview import check_stored_images, check_truncated
        from augpipe.pipeline.model_places import GENERATOR, check_kind, config_of, head_of, spec_of

        head = head_of(place)
        check_kind(place, head, GENERATOR)
        if self.truncation != 1:
            check_truncated(config_of(head))
        if place.is_file() and "path" not in head.get("train", {"path": ""}):
            check_stored_images(config_of(head), head["train"]["sha256"], home() / "store")
        if "classes" in head:
            counts, spec = parse_counts(self.counts, head["classes"]), spec_of(head)
            if "available" in head and not self.checked:
                check_available(counts, head["available"], head["classes"])
            if spec is not None:
                check_space(Path(gettempdir()), sum(counts.values()), spec)

    def signing(self) -> Any:
        """The C2PA signer's files, or None; UserError if they cannot sign."""
        from augpipe.report.credentials import signing_of

        return signing_of(self.certificates, self.key, self.format)


def generate(model: str, /, *, options: GenerateOptions) -> None:
    """Draw images of chosen classes from a trained generator.

    Parameters
    ----------
    model
        The out folder of a run or of `train`, a file of a run's models/, a checkpoint.pt, or a model in MLflow
        (models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN/NAME).
    """
    handle_interrupts()
    options.check()
    require_local(model)
    with model_place(model, "generator", options.generator) as place:
        options.check_model(place)
        checks = _checks(Path(model), place.name) if options.checked else nullcontext()
        with checks as curator:
            written = _generated(place, options, curator)
    short = written["short"]
    if options.json:
        print_json(written)
    else:
        images = several(sum(written["counts"].values()) - sum(short.values()), "synthetic image")
        print_line(f"{images}, {'' if options.checked else 'not '}checked: {written['out']}")
    if short:
        missing = ", ".join(f"{n} of {name}" for name, n in short.items())
        report(f"too few images passed the checks; missing: {missing}")


def _checks(folder: Path, file: str) -> AbstractContextManager[Filter]:
    from augpipe.pipeline.model_places import check_run

    check_run(folder)
    from augpipe.pipeline.run_checks import run_checks

    return run_checks(folder, file)


def _generated(place: Path, options: GenerateOptions, curator: Filter | None) -> dict[str, Any]:
    """Draw images from the generator in a file or folder and write them; returns what was written, for JSON.

    curator: keeps the images that pass checks; None keeps all.
    """
    from augpipe import inference
    from augpipe.core.counts import parse_counts
    from augpipe.report.generated import write_generated
    from augpipe.report.out import check_new

    loaded = inference.load_generator(place)
    if options.truncation != 1:
        loaded.truncate(options.truncation)
    counts = parse_counts(options.counts, loaded.classes)
    origin = inference.origin(loaded, place, options.seed)
    name = options.generator or origin.generator
    folder = options.out or home() / "generated" / f"{name}-seed{options.seed}"
    check_new(folder)
    with inference.drawn(loaded, counts, options.seed, curator) as (images, short):
        origin = replace(origin, truncation=options.truncation)
        write_generated(images, origin, folder, options.format, options.signing())
    return {
        "generator": name,
        "seed": options.seed,
        "counts": {loaded.classes[label]: n for label, n in counts.items()},
        "format": options.format,
        "checked": options.checked,
        "short": short,
        "out": str(folder),
    }


def predict(model: str, /, *images: Path, out: Out = None, json: Json = False) -> None:
    """Predict the class of new pictures with a trained classifier.

    Parameters
    ----------
    model
        The out folder of a run, its models/classifier.pt, or a model in MLflow (models:/NAME/VERSION,
        models:/NAME@ALIAS, runs:/RUN/NAME).
    images
        Pictures, folders of pictures, or any other source that `run` accepts; tables, arrays and DICOM need no labels.
    out
        CSV file of id, predicted class, calibrated probabilities, and the problem of a picture that cannot be read
        (default: standard output).
    json
        Print only JSON: `pictures`, `unreadable`, `out`, and without --out `predictions`, a list with the columns as
        keys.
    """
    handle_interrupts()
    if not images:
        raise UserError("augpipe predict needs pictures: augpipe predict MODEL IMAGES...")
    if out is not None and (out.is_dir() or out.suffix.lower() != ".csv"):
        raise UserError(f"--out must be a .csv file; got {str(out)!r}")
    require_local(model)
    for path in images:
        if not exists(path):
            raise UserError(f"no picture or folder {str(path)!r}{near_name(path)}")
    if out is not None:
        check_file(out)
        _check_predictions(out)
    with model_place(model, "classifier") as place:
        from augpipe.pipeline.model_places import CLASSIFIER, check_kind, head_of

        check_kind(place, head_of(place), CLASSIFIER)
        from augpipe.data.unlabelled import inputs_of

        inputs = inputs_of(images)
        from augpipe import inference

        loaded = inference.load_classifier(place)
        _write(inference.predict(loaded, inputs), out, json)


def check_file(out: Path) -> None:
    """UserError if a file cannot be written where `--out` says."""
    from augpipe.report.out import check_place

    check_place(out.absolute().parent, (), "the folder of --out")


def _check_predictions(out: Path) -> None:
    """UserError if the file exists and holds anything else than predictions: it could be the table of the pictures."""
    if not out.is_file() or not out.stat().st_size:
        return
    with out.open("rb") as stream:
        columns = stream.readline(1 << 16).rstrip(b"\r\n").split(b",")
    if columns[0] != b"id" or columns[-1] != b"problem":
        raise UserError(f"--out {str(out)!r} exists and holds no predictions of augpipe; choose another file")


def _write(parts: Iterator[pd.DataFrame], out: Path | None, json: bool) -> None:
    """Write the predictions to a CSV file, which is whole or not there, or to standard output."""
    from augpipe.core.files import beside

    if out is None:
        n, unread = _print_rows(parts) if json else _write_parts(parts, sys.stdout, writing)
    else:
        with beside(out) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
            n, unread = _write_parts(parts, stream, nullcontext)
        if json:
            print_json({"pictures": n, "unreadable": unread, "out": str(out)})
        else:
            print_line(f"{several(n, 'picture')}: {out}")
    if unread:
        report(f"{several(unread, 'picture')} could not be read; the column `problem` says why")
    if unread == n:
        sys.exit(1)  # there is no prediction


def _write_parts(
    parts: Iterator[pd.DataFrame], stream: TextIO, guard: Callable[[], AbstractContextManager[None]]
) -> tuple[int, int]:
    """Write each part inside a `guard`; number of pictures, and of those that could not be read."""
    from augpipe.core.csv_files import spreadsheet_safe

    n, unread, columns = 0, 0, list[str]()
    for part in parts:
        columns = columns or list(part.columns)
        rows, _ = spreadsheet_safe(part.reindex(columns=columns))
        with guard():
            rows.to_csv(stream, index=False, header=n == 0, float_format="%.6g")
            stream.flush()
        n += len(part)
        unread += _unreadable(part)
    return n, unread


def _print_rows(parts: Iterator[pd.DataFrame]) -> tuple[int, int]:
    """Print the predictions as JSON, part by part: there may be millions. Returns as `_write_parts`."""
    n, unread, columns = 0, 0, list[str]()
    print_text('{"predictions": [')
    for part in parts:
        columns = columns or list(part.columns)
        rows = part.reindex(columns=columns).to_json(orient="records", double_precision=10, force_ascii=is_narrow())
        print_text(("," if n else "") + "\n" + rows[1:-1])
        n, unread = n + len(part), unread + _unreadable(part)
    print_text(f'\n], "pictures": {n}, "unreadable": {unread}, "out": null}}\n')
    return n, unread


def _unreadable(part: pd.DataFrame) -> int:
    return int((part["problem"].fillna("") != "").sum())


def require_local(model: str) -> None:
    """UserError if a model is neither in MLflow nor a file or folder; before anything is imported that reads it."""
    if not model.startswith(ADDRESSES) and not exists(Path(model)):
        raise UserError(f"no file or folder {model!r}{near_name(Path(model))}")
    if Path(model).is_file():
        with Path(model).open("rb") as stream:
            if stream.read(len(ARCHIVE)) != ARCHIVE:
                raise UserError(f"{model} is not a model of augpipe")


@contextmanager
def model_place(model: str, kind: str, name: str | None = None) -> Iterator[Path]:
    """The local file or folder of a model; one of MLflow is downloaded for as long as the block lasts."""
    if model.startswith(ADDRESSES):
        if name is not None:
            raise UserError(f"--generator chooses among the generators of a run's folder; {model} is one model")
        from .logged import check_logged

        check_logged(model)
        from .tracking.download import downloaded

        with downloaded(model) as folder:
            yield folder
        return
    from augpipe.pipeline.model_places import model_file

    yield model_file(Path(model), kind, name)
