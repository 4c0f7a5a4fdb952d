"""Image sources: one file per kind, each with a `Config` and `listing(config) -> Listing`.

A kind may also define `suggest(path)`, which returns the config for a path given by the user, and `places(config)`,
which returns folders that must never be written to, `check(config)`, which raises UserError if files are missing, and
`pictures(config)`, a listing that needs no labels, for predictions. GENERAL = True: its paths may be those of a more
special kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import SerializeAsAny

from augpipe.core.errors import UserError, choices
from augpipe.core.registry import kinds_in, load_kind
from augpipe.core.schema import KindConfig, by_kind
from augpipe.data.sources._foreign import advice
from augpipe.data.sources._listing import Bad, Listing, alike, check_attributes, only
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._unlabelled import without_unlabelled

Source = Annotated[SerializeAsAny[KindConfig], by_kind(__name__, "source")]
__all__ = [
    "Bad",
    "Blob",
    "Listing",
    "Source",
    "alike",
    "check",
    "check_attributes",
    "listing",
    "map_paths",
    "only",
    "pictures",
    "places",
    "sources",
    "suggest",
]


def sources() -> tuple[str, ...]:
    """Names of all source kinds."""
    return kinds_in(__name__)


def listing(source: KindConfig) -> Listing:
    """List the images of `source` without reading any; UserError if it cannot be found.

    A val or test without any label is left out.
    """
    images: Listing = load_kind(__name__, source.kind, "source").listing(source)
    return without_unlabelled(images, getattr(source, "classes", None))


def pictures(source: KindConfig) -> Listing:
    """List the images of `source` for predictions; where a kind can, without labels, which mean nothing here."""
    module = load_kind(__name__, source.kind, "source")
    images: Listing = getattr(module, "pictures", module.listing)(source)
    return images


def check(source: KindConfig) -> None:
    """UserError if files of a source are missing; nothing is listed, so that a mistake is reported at once."""
    function = getattr(load_kind(__name__, source.kind, "source"), "check", None)
    if function:
        function(source)
    if shift := getattr(source, "shift", None):
        check(shift)


def places(source: KindConfig) -> tuple[Path, ...]:
    """The source's folders, which must never be written to."""
    function = getattr(load_kind(__name__, source.kind, "source"), "places", None)
    folders: tuple[Path, ...] = function(source) if function else ()
    shift = getattr(source, "shift", None)
    return folders if shift is None else (*folders, *places(shift))


def map_paths(source: Any, function: Callable[[str], str]) -> Any:
    """The values of a source with `function` applied to each of its paths;
    one that is no source's is returned unchanged.
    """
    if not isinstance(source, Mapping) or source.get("kind") not in sources():
        return source
    fields = load_kind(__name__, source["kind"], "source").Config.model_fields
    names = [name for name, field in fields.items() if _holds_path(field.annotation)]
    mapped = dict(source)
    for name in {*names} & {*source}:
        value = source[name]
        if isinstance(value, str):
            mapped[name] = function(value)
        elif isinstance(value, list):
            mapped[name] = [function(one) if isinstance(one, str) else one for one in value]
    if "shift" in source:
        mapped["shift"] = map_paths(source["shift"], function)
    return mapped


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(_holds_path(inner) for inner in get_args(annotation))


def suggest(path: Path) -> dict[str, Any]:
    """Config for a path given by the user, from the first kind that recognises it; UserError if none does.

    Kinds are tried in alphabetical order, those that are GENERAL last.
    """
    modules = [load_kind(__name__, kind, "source") for kind in sources()]
    configs = []
    for module in sorted(modules, key=lambda module: getattr(module, "GENERAL", False)):
        function = getattr(module, "suggest", None)
        config = function(path) if function else None
        if config:
            configs.append(config)
            break
    if not configs and path.suffix.lower() == ".txt" and path.is_file() and not advice(path):
        raise UserError(
            f"unknown kind of source: {path}; a .txt is read if each of its lines is the path of a picture and its "
            "label, such as cat/1.png 0: write a table with the columns path and label, or give the folder of pictures"
        )
    if not configs:
        raise UserError(
            f"unknown kind of source: {path}; use a folder, .zip, .tar, .tar.gz, .npz, .npy, .csv, .tsv, .tab, .txt, "
            f".jsonl, .ndjson (these also as .gz), .parquet; set other kinds ({choices(sources())}) in a "
            f"config{advice(path)}"
        )
    chosen: dict[str, Any] = configs[0]
    return chosen
