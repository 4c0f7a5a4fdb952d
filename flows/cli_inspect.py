"""`augpipe inspect` and `augpipe list`: what images hold, and what a config can choose from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, exists, near_name, unknown
from augpipe.core.registry import kinds_in

from .command_line import Json, Out, Sets
from .output import print_json, print_line

LISTS: Final = ("families", "sources", "metrics", "checks", "classifiers", "losses", "heads", "transforms")


def inspect(source: Path, /, *, set_: Sets = (), json: Json = False, out: Out = None) -> None:
    """Inspect images before a run: counts, sizes, duplicates, unusable files, contact sheets.

    Parameters
    ----------
    source
        Images in any form that `run` accepts, or a config, whose source and split are used.
    set_
        Override a value: `--set image.window=full --set source.layout={label}/{group}/*`.
    json
        Print only JSON.
    out
        Output folder for inspect.html, inspect.json and quarantine.csv (default: inspections/NAME below AUGPIPE_HOME).
    """
    if not exists(source):
        raise UserError(f"no config, folder or file {str(source)!r}{near_name(source)}")
    from .inspection import inspect_source, print_summary

    inspection, folder = inspect_source(source, set_, out)
    if json:
        print_json(inspection.facts())
    else:
        print_summary(inspection, folder)


def list_(what: str, /) -> None:
    """List the available families, sources, metrics, checks, classifiers, losses, heads or transforms.

    Parameters
    ----------
    what
        families, sources, metrics, checks, classifiers, losses, heads or transforms.
    """
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    for name in _names(what):
        print_line(name)


def _names(what: str) -> Iterable[str]:
    """The names in a list. Imports are local: only the metrics need scikit-learn."""
    if what == "families":
        from augpipe.generators.options import FAMILIES

        return kinds_in(FAMILIES)
    if what == "sources":
        return kinds_in("augpipe.data.sources")
    if what == "losses":
        from augpipe.classifiers.losses import losses

        return losses
    if what == "heads":
        from augpipe.classifiers.heads import heads

        return heads
    if what == "metrics":
        from augpipe.classifiers import scores
        from augpipe.synthetic import options as synthetic

        figures = (f"fidelity: {name}" for name in (*synthetic.FIGURES, *synthetic.EXTRA))
        return (*scores.metrics, *scores.per_class, "minority_recall", *figures)
    if what == "checks":
        from augpipe.synthetic.options import CHECKS

        return CHECKS
    from augpipe.classifiers.options import CLASSIFIERS, TRANSFORMS

    return CLASSIFIERS if what == "classifiers" else TRANSFORMS
