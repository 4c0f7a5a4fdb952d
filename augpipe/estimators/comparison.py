"""`compare` of an experiment, or of images and labels in memory with arms by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import column_or_1d

from augpipe import api
from augpipe.classifiers.options import TRANSFORMS
from augpipe.core.errors import UserError, unknown
from augpipe.core.home import home
from augpipe.core.registry import load_kind
from augpipe.core.store import Store
from augpipe.estimators.inputs import layout_of, seed_of, to_arrays
from augpipe.generators import families
from augpipe.generators.options import FAMILIES
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.defaults import for_source
from augpipe.pipeline.experiment import Experiment, build
from augpipe.report.run_results import RunResults

CLASSIC = "light"  # the transform of arms called classic
# Arms without synthetic images, besides those called by a transform.
PLAIN: dict[str, dict[str, Any]] = {
    "real": {},
    "weighted": {"weights": "balanced"},
    "oversample": {"sampler": "balanced"},
    "balanced": {"sampler": "balanced"},
}
# Overrides of what is chosen by `arms`, applied after it.
_LATE = ("arms", "baseline", "generators")

AnyArm = str | Arm | Mapping[str, Any]


def compare(
    X: Any,
    y: Any = None,
    *,
    arms: Sequence[AnyArm] | None = None,
    groups: Any = None,
    overrides: Sequence[str] = (),
    random_state: Any = 0,
    fresh: bool = False,
) -> RunResults:
    """Do synthetic images help, and from which generator: train a classifier on each arm's images and compare them.

    Everything runs in this process. Results are stored below AUGPIPE_HOME and reused by later calls and by the command.

    Parameters
    ----------
    X : Experiment, array, tensor, torch Dataset or path
        An experiment, whose own arms are compared. Or images uint8 of shape (N,H,W), (N,H,W,C) or (N,C,H,W), a data set
        of (image, label), or the path of a folder, archive, table or `.npz`: sizes, steps and budgets are chosen for
        the images, as `augpipe run FOLDER` does. Pictures that are not square get black borders.
    y : array of shape (N,) or None
        Labels, numbers or text; None for an experiment, a data set or a path.
    arms : sequence of str, Arm or mapping, or None
        `real`, `weighted`, `oversample` (or `balanced`), `classic` or the name of a transform; a family of generators
        such as `cgan`; `cgan+classic`. Or an arm as in a config. None: those that `augpipe run FOLDER` compares. Gains
        are measured against `real`, or else the first arm without a trained generator.
    groups : array of shape (N,) or None
        Patient, identity or another unit of each image: all its images lie in one of train, val and test.
    overrides : sequence of str, default=()
        `key.key=value` as with `--set`: `["seeds=5", "generators.cgan.kimg=20"]`.
    random_state : int, RandomState or None, default=0
        Determines which images are train, val and test.
    fresh : bool, default=False
        Whether nothing of earlier runs is reused.

    Returns
    -------
    RunResults
        With `.table`, `.verdict`, `.best` and `.report(out)`.

    Raises
    ------
    UserError
        A ValueError: unknown arms, images or groups that cannot be used, too few images of a class.
    """
    experiment = _experiment(X, y, groups, arms, list(overrides), random_state)
    return api.compare(experiment, fresh=fresh)


def _experiment(
    X: Any, y: Any, groups: Any, arms: Sequence[AnyArm] | None, overrides: list[str], state: Any
) -> Experiment:
    """X itself if it is an experiment, else the one chosen for the images; state: see `random_state`."""
    if isinstance(X, Experiment):
        if any(value is not None for value in (y, arms, groups)) or overrides:
            raise UserError("an Experiment has its own images, arms and settings: give it alone")
        return X
    fixed = [] if isinstance(X, str | Path) else ["name=compare"]
    fixed.append(f"split.seed={seed_of(state)}")
    return experiment_of(_path(X, y, groups), arms, [*fixed, *overrides])


def _path(X: Any, y: Any, groups: Any) -> Path:
    """The path of the images: X itself if it is a path, else a file in the store with images, labels and groups."""
    if isinstance(X, str | Path):
        if y is not None or groups is not None:
            raise UserError(f"y and groups must be None, because the source {str(X)!r} has them")
        return Path(X)
    arrays = to_arrays(X, y)
    images = np.asarray(arrays.images)
    if arrays.labels is None:
        raise UserError("y is None: give a label for each image")
    labels = column_or_1d(arrays.labels)
    check_consistent_length(images, labels)
    layout = layout_of(images, None)
    classes, codes = np.unique(labels, return_inverse=True)
    content: dict[str, NDArray[Any]] = {
        # Channels last, which no image size can be mistaken for.
        "images": layout.to_planes(images).transpose(0, 2, 3, 1),
        "labels": codes.astype(np.int64),
        "class_names": np.array([str(value) for value in classes.tolist()]),
    }
    if groups is not None:
        content["groups"] = _groups(groups, len(images))
    store = Store(home() / "store")
    return store.put("arrays", lambda path: _write(path, content), ".npz").path


def _groups(groups: Any, n: int) -> NDArray[Any]:
    values = column_or_1d(groups)
    if len(values) != n:
        raise UserError(f"{n} images but {len(values)} groups: each image needs one")
    missing = int(np.asarray(pd.isna(values)).sum())
    if missing:
        raise UserError(f"{missing} of {n} groups are missing: each image needs one")
    return np.array([str(value) for value in values.tolist()])


def _write(path: Path, content: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **content)


def experiment_of(path: Path, arms: Sequence[AnyArm] | None, overrides: Sequence[str]) -> Experiment:
    """An experiment chosen for the images at a path, with these arms in place of the chosen ones."""
    if arms is None:
        return for_source(path, overrides)[0]
    early = [text for text in overrides if not text.startswith(_LATE)]
    default = for_source(path, early)[0]
    values = default.model_dump(mode="json")
    generators = dict(values["generators"])
    values["arms"] = [_arm(arm, default, generators) for arm in arms]
    used = {name for arm in values["arms"] for name in _generators(arm)}
    values["generators"] = {name: generators[name] for name in generators if name in used}
    names = [arm["name"] for arm in values["arms"]]
    plain = [arm["name"] for arm in values["arms"] if not _trained(arm, values["generators"])]
    values["baseline"] = "real" if "real" in names else (plain or names or ["real"])[0]
    return build(values, overrides, where="compare")


def _generators(arm: Mapping[str, Any]) -> list[str]:
    of = arm.get("generator") or []
    return [of] if isinstance(of, str) else list(of)


def _trained(arm: Mapping[str, Any], generators: Mapping[str, Any]) -> bool:
    kinds = [generators[name]["kind"] for name in _generators(arm) if name in generators]
    return any(_config(kind).generative for kind in kinds)


def _config(family: str) -> Any:
    return load_kind(FAMILIES, family, "generator").Config


def _arm(arm: AnyArm, default: Experiment, generators: dict[str, Any]) -> dict[str, Any]:
    """An arm as values; the family of an arm called by its name is added to `generators`."""
    if isinstance(arm, Arm | Mapping):
        values = arm.model_dump(mode="json") if isinstance(arm, Arm) else dict(arm)
        for name in _generators(values):
            _add_family(name, default, generators)
        return values
    chosen = {known.name: known for known in default.arms}
    if arm in chosen:
        return chosen[arm].model_dump(mode="json")
    family, _, more = arm.partition("+")
    if not more and (mix := _plain(arm)) is not None:
        return {"name": arm, "mix": mix}
    mix = _plain(more) if more else {}
    if family not in families.names() or mix is None:
        have = families.names()
        names = [*PLAIN, "classic", *TRANSFORMS, *have, *(f"{name}+classic" for name in have)]
        raise unknown("arm", arm, names)
    _add_family(family, default, generators)
    return {"name": arm, "generator": family, "mix": {**_mix(family, default), **mix}}


def _plain(name: str) -> dict[str, Any] | None:
    """The mix of an arm without synthetic images; None if there is none of this name."""
    if name == "classic" or name in TRANSFORMS:
        return {"sampler": "balanced", "transform": CLASSIC if name == "classic" else name}
    return PLAIN.get(name)


def _mix(family: str, default: Experiment) -> dict[str, Any]:
    """The mix that is chosen for generators like this one, trained or not; the default one if none is chosen."""
    generative = _config(family).generative
    for arm in default.arms:
        alike = [default.generators[name].generative == generative for name in arm.generators]
        if alike and all(alike) and arm.mix.transform is None:
            mix: dict[str, Any] = arm.mix.model_dump(mode="json")
            return mix
    return {}


def _add_family(name: str, default: Experiment, generators: dict[str, Any]) -> None:
    """Add a generator called by its family, with the budget that is chosen for other trained ones."""
    if name in generators or name not in families.names():
        return
    budgets = [config.kimg for config in default.generators.values() if config.generative]
    trained = bool(budgets) and _config(name).generative
    generators[name] = {"kind": name, **({"kimg": budgets[0]} if trained else {})}
