"""Published weights: kept below `AUGPIPE_HOME/weights/checkpoints` under their publishers' names, fetched where missing.

A file put there by hand needs no network.
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

from augpipe.core.errors import UserError
from augpipe.core.home import home

# What reading weights from another file than theirs raises.
UNREADABLE: Final = (
    pickle.UnpicklingError, struct.error, AssertionError, AttributeError, EOFError, LookupError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


def weights_folder() -> Path:
    """Where weights lie."""
    return home() / "weights" / "checkpoints"


@contextmanager
def fetching(what: str, file: str, instead: str) -> Iterator[None]:
    """torch's downloads go to our folder; what fails is one line that says where to put the file.

    instead: what to set in a config that asks for no weights.
    """
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(home() / "weights"))
    try:
        weights_folder().mkdir(parents=True, exist_ok=True)
        yield
    except (URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"cannot fetch the weights of {what} ({' '.join(str(reason).split())}): without a network, put {file} "
            f"into {weights_folder()}, or use {instead}"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot keep the weights of {what} in {weights_folder()}: {error.strerror or error}"
        ) from None
    finally:
        torch.hub.set_dir(before)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """A file that does not hold the weights is the user's to mend."""
    try:
        yield
    except UNREADABLE:
        raise UserError(
            f"{path} does not hold the weights of {what}; remove it or replace it"
        ) from None


def published_file(model: str) -> Path:
    """Where the published weights of one of torchvision's classifying models lie."""
    from torchvision.models import get_model_weights

    return weights_folder() / Path(get_model_weights(model).DEFAULT.url).name


def torchvision_state(model: str, instead: str) -> Mapping[str, torch.Tensor]:
    """The published state of one of torchvision's classifying models; UserError where it is not to be had."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(model).DEFAULT
    path = published_file(model)
    with fetching(f"torchvision's {model}", path.name, instead), reading(path, model):
        # torchvision itself reads files in a way that may run code: what this has read cannot.
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    return state
