"""Check the arguments of `train` and `balance`: before data are read, and without Prefect and MLflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, unknown
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Outline
from augpipe.report.out import check_balanced_out, check_place

from .output import report

TRAINED: Final = ("checkpoint.pt", "history.csv", "samples.png")  # files of a training


def check_seed(seed: int) -> None:
    """UserError for a negative seed."""
    if seed < 0:
        raise UserError(f"a seed must be 0 or more; got {seed}")


def note_seed(outline: Outline, seed: int) -> None:
    """Report that a seed is not in the config, so that nothing of a comparison can be reused."""
    if seed >= 0 and seed not in outline.seeds:
        have = ", ".join(str(one) for one in outline.seeds)
        report(f"seed {seed} is not one of the config's ({have}): its generator is trained for this alone")


def check_train(outline: Outline, generator: str, seed: int, out: Path, resume: bool) -> None:
    """UserError for an unknown generator or a negative seed, or if the training cannot be written to `out`."""
    if generator not in outline.generators:
        raise unknown("generator", generator, outline.generators)
    check_seed(seed)
    _check_folder(out, outline.places, resume)


def check_balance(outline: Outline, arm: str, seed: int | None, out: Path, override: str | None) -> None:
    """UserError for an arm of which no set can be published, a negative seed, or an `out` that cannot be replaced."""
    balanced_arm(outline, arm)
    if override is not None and not override.strip():
        raise UserError("--override needs a reason, which is recorded; got an empty one")
    check_seed(0 if seed is None else seed)
    check_balanced_out(out, outline.places)


def check_form(form: str, real_size: str | None) -> None:
    """UserError for a form of a balanced set that cannot be written, or not with pictures of `real_size`."""
    if form == "npz" and real_size == "original":
        raise UserError(
            "--format npz has one size for all images: leave out --real-size original, or choose another format"
        )
    if form == "dicom":
        from augpipe.report.dicom_files import require_dicom

        require_dicom()


def balanced_arm(outline: Outline, name: str) -> Arm:
    """The arm with that name; UserError if no such arm has exactly one generator and a fixed fill."""
    arms = {arm.name: arm for arm in outline.arms if arm.generator}
    if name not in arms:
        raise unknown("arm with a generator", name, arms)
    if arms[name].mix.fill == "search":
        raise UserError(
            f"arm {name!r} searches its fill on val, which only a comparison does; "
            f"set the number of images to publish with --set arms.{name}.mix.fill=N"
        )
    if len(arms[name].generators) > 1:
        raise UserError(
            f"arm {name!r} pools {arms[name].made_by}; a balanced set needs one generator: "
            f"--set arms.{name}.generator=NAME"
        )
    return arms[name]


def is_leftover(name: str) -> bool:
    """Whether a killed training left this file: a draft of an output file, or a write test of the folder."""
    match = re.fullmatch(r"\.(.+)\.[0-9a-f-]{8,}\.(tmp|old)", name)
    draft = match is not None and (match[1] in TRAINED or fnmatch(match[1], "last*.pt"))
    return draft or name.startswith(".augpipe-")


def checkpoints(out: Path) -> list[Path]:
    """Checkpoints of an unfinished training in its output folder; none if the training is complete."""
    return [] if _is_complete(out) else resume_files(out)


def resume_files(out: Path) -> list[Path]:
    """The files from which a training resumes.
    A complete one leaves them only if it was killed before it removed them.
    """
    names = out.glob("last*.pt") if out.is_dir() else ()
    return sorted(path for path in names if re.fullmatch(r"last(-all|-\d+)?\.pt", path.name))


def _is_complete(out: Path) -> bool:
    """Whether the files of a training are there, none written before what it would resume from."""
    written = [out / name for name in TRAINED]
    if not all(path.is_file() for path in written):
        return False
    earliest = min(path.stat().st_mtime_ns for path in written)
    return all(path.stat().st_mtime_ns <= earliest for path in resume_files(out))


def _check_folder(out: Path, sources: Sequence[Path], resume: bool) -> None:
    """UserError if `out` cannot be a training's folder, or contradicts `resume`."""
    check_place(out, sources, "the out folder")
    unfinished, resumable = checkpoints(out), resume_files(out)
    if resume and not unfinished and (out / TRAINED[0]).exists():
        raise UserError(f"the training in {out} is complete; without --resume it is repeated")
    if not resume and unfinished:
        raise UserError(f"{out} contains an unfinished training; continue it with --resume, or choose another --out")
    foreign = sorted(
        path.name
        for path in (out.iterdir() if out.is_dir() else ())
        if path.name not in TRAINED and path not in resumable and not is_leftover(path.name)
    )
    if foreign:
        raise UserError(
            f"the out folder {out} contains {foreign[0]!r}, which is not a training file; choose another --out"
        )
