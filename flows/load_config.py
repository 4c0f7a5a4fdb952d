"""Load the experiment that a command is called with, and check it against its data.

Imports are local: a mistake is reported before the libraries are imported that its check does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import UserError, exists, near_name
from augpipe.core.home import home, store_limit

from .addresses import check_addresses
from .output import report
from .retries import retried

CONFIGS: Final = (".yaml", ".yml")


def load_checked(
    config: Path, overrides: tuple[str, ...], check: Callable[[Any], None], generators: tuple[str, ...] = ()
) -> Any:
    """Load the experiment and check it against its data; nothing is written yet, and no server started.

    check: the command's arguments, for a config before its data are read. generators: see `validate.load_checked`.
    Images get the numbers that a run on them has, so that its results are reused.
    """
    if is_images(config):
        return _planned(suggest_checked(config, overrides, check, generators))
    from augpipe.pipeline import validate

    return retried(lambda: validate.load_checked(config, overrides, _with_places(check), generators, _check_servers))


def suggest_checked(
    images: Path,
    overrides: tuple[str, ...],
    check: Callable[[Any], None] = lambda outline: None,
    generators: tuple[str, ...] = (),
    servers: bool = True,
) -> Any:
    """The suggestion for images, checked as in `load_checked`. servers: whether any are to be used."""
    from augpipe.pipeline.defaults import suggest

    def checks(outline: Any) -> None:
        _with_places(check)(outline)
        if servers:
            _check_servers(outline)

    return retried(lambda: suggest(images, overrides, checks, generators))


def _check_servers(outline: Any) -> None:
    check_addresses(outline.runner)


def _with_places(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def before(outline: Any) -> None:
        _check_places(outline)
        check(outline)

    return before


def _planned(suggestion: Any) -> Any:
    from augpipe.pipeline.planning import for_images  # imports torch

    plan = for_images(suggestion)
    _print_choices(plan.choices)
    return plan.experiment


def choose(images: Path, overrides: tuple[str, ...], check: Callable[[Any], None]) -> tuple[Any, tuple[Any, ...]]:
    """The experiment that is planned for images, and the choices; nothing is printed."""
    if not is_images(images):
        raise UserError(f"{images} is a config already; augpipe init takes images")
    suggestion = suggest_checked(images, overrides, check, servers=False)
    from augpipe.pipeline.planning import for_images  # imports torch

    plan = for_images(suggestion)
    return plan.experiment, tuple(plan.choices)


def load(config: Path, overrides: tuple[str, ...]) -> Any:
    """Load the experiment and check its folders; nothing is written yet. The data of a config may still be missing."""
    if is_images(config):
        return _planned(suggest_checked(config, overrides))
    from augpipe.pipeline.experiment import load

    experiment = load(config, overrides)
    _check_places(experiment)
    _check_servers(experiment)
    return experiment


def is_images(config: Path) -> bool:
    """Whether the path is one of images, not of a config; UserError if it does not exist."""
    if not exists(config):
        raise UserError(f"no config or folder {str(config)!r}{near_name(config)}")
    return config.is_dir() or config.suffix.lower() not in CONFIGS


def _print_choices(choices: Iterable[Any]) -> None:
    for choice in choices:
        report(f"chose {choice.key} {choice.value} ({choice.why})")


def _check_places(outline: Any) -> None:
    """UserError if AUGPIPE_HOME cannot be used, files of the source are missing, or the runner has too many threads;
    nothing is listed.
    """
    from augpipe.data.sources import check
    from augpipe.pipeline.context import check_threads
    from augpipe.report.out import check_home

    check_threads(outline.runner)
    check_home(outline.places)
    store_limit()
    for source in outline.sources:
        check(source)


def out_folder(outline: Any, out: Path | None) -> Path:
    """Output folder of a comparison."""
    return out or home() / "runs" / str(outline.name)


def check_out_folder(outline: Any, out: Path | None) -> None:
    """UserError if the folder of a comparison cannot be written."""
    from augpipe.report.out import check_out

    check_out(out_folder(outline, out), outline.places)
