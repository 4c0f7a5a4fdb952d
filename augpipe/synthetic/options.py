"""Options of curation, fidelity and gates."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from augpipe.core.errors import UserError, one_line, unknown
from augpipe.core.home import weights_folder
from augpipe.core.registry import registered_in
from augpipe.core.schema import Strict, refuse_changed

HERE: Final = Path(__file__).parent
# Names of the functions in `curation` and `fidelity`, which import torch and scikit-learn.
CHECKS: Final = registered_in(HERE / "curation.py", "check")
FIGURES: Final = tuple(n for file in sorted((HERE / "fidelity").glob("*.py")) for n in registered_in(file, "metric"))
WINDOW: Final = 11  # pixels of SSIM's window
LPIPS_WEIGHTS: Final = "alexnet-owt-7be5be79.pth"
# Figures that need images of some size → their least side in pixels: MS-SSIM's five scales of the window, AlexNet's
# layers.
LEAST_SIDES: Final = {"ssim": WINDOW, "ms_ssim": 161, "lpips": 31}
GAN_TRAIN: Final = "gan_train"
SHORTCUT: Final = "shortcut"
EXTRA: Final = (GAN_TRAIN, SHORTCUT)  # figures that are not a function of two sets
INCEPTION: Final = "inception"
TORCHVISION: Final = "torchvision:"


def _checks(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
    if len(set(names)) < len(names):
        raise ValueError(f"duplicate check in {list(names)}")
    return names


class Curation(Strict):
    """Which checks a synthetic image must pass, and how often missing ones are drawn again."""

    checks: Annotated[tuple[str, ...], AfterValidator(_checks)] = CHECKS
    """Checks in the order in which they run: `blank` (contrast), `agreement` (the real-only classifier sees the class),
    `realism` (inside the real manifold), `copies` (of train), `duplicates` (of other synthetic images)."""

    reject: float = Field(default=0.05, gt=0, lt=1)
    """Fraction of real val images that the thresholds of `agreement` and `realism` would reject."""

    purity: float | None = Field(default=None, gt=0, lt=1)
    """Minimum precision of `agreement` on val (classes weighted equally): its threshold rises until this fraction of
    the val images predicted as a class are of it, or as near to that as 20 images allow. null: no minimum."""

    rounds: int = Field(default=5, ge=1)
    """How often images that are missing from the plan are drawn again."""

    oversample: float = Field(default=1.2, ge=1, le=10)
    """Images drawn per missing image, on top of what the pass rate requires."""

    @model_validator(mode="after")
    def _thresholds_have_checks(self) -> Curation:
        if self.purity is not None and "agreement" not in self.checks:
            raise ValueError(f"purity {self.purity:g} needs the check 'agreement'; got checks {list(self.checks)}")
        if not {"agreement", "realism"} & set(self.checks):
            refuse_changed(self, ["reject"], "without the checks agreement and realism")
        if not self.checks:
            refuse_changed(self, ["rounds", "oversample"], "without checks")
        return self


def _features(name: str) -> str:
    if name in ("domain", INCEPTION):
        return name
    if not name.startswith(TORCHVISION):
        raise unknown("features", name, ("domain", INCEPTION, f"{TORCHVISION}MODEL"))
    from torchvision import models as classification  # only for the names of its models

    # Only this module: its submodules hold segmentation, detection and video models.
    models = classification.list_models(module=classification)
    model = name.removeprefix(TORCHVISION)
    if model not in models:
        raise unknown(f"torchvision model of features {name!r}:", model, models)
    return name


class FidelityOptions(Strict):
    """How synthetic images are measured."""

    features: Annotated[str, AfterValidator(_features)] = "domain"
    """Features in which images are compared: `domain`, the penultimate layer of the real-only classifier; or a network
    with published weights, `torchvision:MODEL` or `inception` (as in the FID literature)."""

    images: int = Field(default=200, ge=2)
    """Synthetic images drawn per class for the measurement."""

    gan_train: bool = True
    """Also train a classifier on synthetic images alone and score it on val (GAN-train, Shmelkov et al. 2018)."""


def pixel_obstacle(figure: str, side: int) -> str:
    """Why a figure has no value for any images of `side` pixels:
    their size, or weights that are missing; "" if it has.
    """
    name = figure.removesuffix("_real")
    if side < LEAST_SIDES.get(name, 0):
        return f"needs images of {LEAST_SIDES[name]} px; these have {side}"
    if name == "lpips" and not (weights_folder() / LPIPS_WEIGHTS).exists():
        return f"needs {LPIPS_WEIGHTS} below AUGPIPE_HOME, in weights/checkpoints"
    return ""


class Condition(NamedTuple):
    """A parsed gate. each: applies to every class, instead of to all images together."""

    each: bool
    figure: str
    operator: str
    bound: float


def condition(text: Any) -> Condition:
    """Parse `FIGURE > NUMBER` or `each FIGURE > NUMBER`; UserError for anything else."""
    pattern = r"\s*(each\s+)?([A-Za-z0-9_.]+)\s*(>=|<=|>|<)\s*(\S+)\s*"
    match = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if match is None:
        raise UserError(
            f"a gate is 'FIGURE > NUMBER', or 'each FIGURE > NUMBER' for every class (>, >=, <, <=); got {text!r}"
        )
    each, name, sign, number = match.groups()
    figures = (*FIGURES, *EXTRA)
    if name not in figures:
        raise unknown(f"figure of the gate {text!r}:", name, figures)
    if each and name == SHORTCUT:
        raise UserError(f"the gate {text!r}: {name} is one figure of all classes; leave `each` out")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UserError(f"the gate {text!r} needs a number after {sign}; got {number!r}")
    return Condition(bool(each), name, sign, bound)


def _plain(text: Any) -> str:
    """Canonical spelling of a gate."""
    condition(text)
    return one_line(text)


# The text of a gate, validated.
Gate = Annotated[str, BeforeValidator(_plain)]
