"""`augpipe explore`: a page of what a trained generator has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from augpipe.core.errors import UserError
from augpipe.core.home import home

from .cli_models import model_place, require_local
from .command_line import Json, Out
from .entry import handle_interrupts
from .output import print_json, print_line

if TYPE_CHECKING:
    from augpipe.core.counts import Counts


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExploreOptions:
    """Options of `augpipe explore`."""

    out: Out = None
    """New folder for explore.html and its PNG files (default: explored/GENERATOR-seedN below AUGPIPE_HOME)."""
    generator: str | None = None
    """Name of the generator, if the run has several."""
    classes: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """Classes to show, such as `--classes 3,7`, in this order; ways between classes lead from each to the next
    (default: the first 10)."""
    seed: int = 0
    """Another seed shows other images; the same one the same."""
    json: Json = False
    """Print only JSON: `generator`, `seed`, `classes`, `sections` (name: why it was left out, empty if it was not),
    and `out`, the new folder."""

    def check(self) -> None:
        """UserError for options that no generator can have."""
        if self.seed < 0:
            raise UserError(f"--seed must be 0 or more; got {self.seed}")
        if self.out is not None:
            from augpipe.report.out import check_new

            check_new(self.out)

    def check_model(self, place: Path) -> None:
        """UserError for options that do not fit the model, as far as its file says so without importing torch."""
        from augpipe.core.counts import parse_classes
        from augpipe.generators.preview import check_stored_images
        from augpipe.pipeline.model_places import GENERATOR, check_kind, config_of, head_of

        head = head_of(place)
        check_kind(place, head, GENERATOR, "augpipe explore")
        if place.is_file() and "path" not in head.get("train", {"path": ""}):
            check_stored_images(config_of(head), head["train"]["sha256"], home() / "store")
        if "classes" in head:
            parse_classes(self.classes, head["classes"])


def explore(model: str, /, *, options: ExploreOptions | None = None) -> None:
    """Write a page of what a trained generator has learned.

    Samples at several truncations, walks through the latent space, ways from class to class, latent arithmetic, and
    the training images nearest to samples: what the family supports, and why not the rest.

    Parameters
    ----------
    model
        The out folder of a run or of `train`, a file of a run's models/, a checkpoint.pt, or a model in MLflow
        (models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN/NAME).
    """
    handle_interrupts()
    options = options or ExploreOptions()
    options.check()
    require_local(model)
    with model_place(model, "generator", options.generator) as place:
        options.check_model(place)
        written = _explored(place, options)
    if options.json:
        print_json(written)
        return
    print_line(f"{written['out']}/explore.html")


def _explored(place: Path, options: ExploreOptions) -> dict[str, Any]:
    """Write the folder; returns what was written, for JSON."""
    from augpipe import inference
    from augpipe.core.counts import parse_classes
    from augpipe.report.explored import CLASSES, Explored, write_explored
    from augpipe.report.out import check_new

    loaded = inference.load_generator(place)
    train, why = inference.training_images(loaded)
    labels = parse_classes(options.classes, loaded.classes)
    if train is not None:
        labels = _learned(labels, train.counts(), loaded.classes, chosen=bool(options.classes))
    labels = labels if options.classes else labels[:CLASSES]
    origin = inference.origin(loaded, place, options.seed)
    name = options.generator or origin.generator
    folder = options.out or home() / "explored" / f"{name}-seed{options.seed}"
    check_new(folder)
    explored = Explored(loaded.generator, tuple(loaded.classes), labels, origin, train, why)
    sections = write_explored(explored, folder)
    return {
        "generator": name,
        "seed": options.seed,
        "classes": [loaded.classes[label] for label in labels],
        "sections": {section.slug: section.why for section in sections},
        "out": str(folder),
    }


def _learned(labels: Sequence[int], counts: Counts, classes: Sequence[str], *, chosen: bool) -> list[int]:
    """The labels that have training images; UserError if one that was chosen has none: nothing was learned of it."""
    learned = [label for label in labels if counts[label]]
    if chosen and len(learned) < len(labels):
        empty = next(label for label in labels if not counts[label])
        raise UserError(f"the generator had no training image of class {classes[empty]!r}; leave it out of --classes")
    return learned
