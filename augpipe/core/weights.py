"""Published weights: stored in `AUGPIPE_HOME/weights/checkpoints` under their original names, downloaded if missing.

A file placed there manually needs no network.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError

import torch

from augpipe.core.errors import UserError, one_line
from augpipe.core.home import home, make_folder, weights_folder

# Exceptions raised by reading a file that is not a matching checkpoint.
UNREADABLE: Final = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def fetching(what: str, file: str, instead: str) -> Iterator[None]:
    """Download with torch to our folder; a failure is a UserError that says where to put the file.

    instead: config setting that needs no weights.
    """
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(home() / "weights"))
    try:
        make_folder(weights_folder())
        yield
    except (URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"cannot fetch the weights of {what} ({one_line(reason)}): without a network, put {file} "
            f"into {weights_folder()}, or use {instead}"
        ) from None
    except OSError as error:
        raise UserError(f"cannot keep the weights of {what} in {weights_folder()}: {error.strerror or error}") from None
    finally:
        torch.hub.set_dir(before)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """UserError if a file does not hold the weights."""
    try:
        yield
    except UNREADABLE:
        raise UserError(f"{path} does not hold the weights of {what}; remove it or replace it") from None


def published_file(model: str) -> Path:
    """Path of the published weights of a torchvision classification model."""
    from torchvision.models import get_model_weights

    return weights_folder() / Path(get_model_weights(model).DEFAULT.url).name


def torchvision_state(model: str, instead: str) -> Mapping[str, torch.Tensor]:
    """Published state of a torchvision classification model; UserError if it is not available."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(model).DEFAULT
    path = published_file(model)
    with fetching(f"torchvision's {model}", path.name, instead), reading(path, model):
        # weights_only: loading cannot run code, unlike the default of torchvision.
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    return state
