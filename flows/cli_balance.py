"""`augpipe balance`: publish an arm's balanced set."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cyclopts import Parameter

from augpipe.core.home import home

from .command_line import Certificates, Form, Json, Out, PrivateKey, Sets
from .engine import settle
from .entry import handle_interrupts
from .exits import exit_message
from .load_config import load_checked
from .output import print_error, print_json, print_line

GATE: Final = 3  # exit status if a gate does not hold and the set is not published


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BalanceOptions:
    """Options of `augpipe balance`."""

    arm: str
    """The arm's name in the config. It needs a generator."""
    seed: int | None = None
    """The replicate to publish (default: the config's first seed)."""
    set_: Sets = ()
    """Override a config value: `--set arms.acgan.mix.fill=500`."""
    out: Out = None
    """Output folder (default: balanced/NAME-ARM below AUGPIPE_HOME)."""
    override: str | None = None
    """Publish even if a gate does not hold. Takes the reason, which the data card records."""
    real_size: Literal["original", "run"] | None = None
    """Publish the real pictures at their own size (`original`, the default), or at that of the synthetic ones (`run`).
    npz has one size for all, that of the run."""
    format: Form = "folder"
    """folder: class folders and manifest.csv; npz: one array file in MedMNIST's form, with val and test; webdataset:
    tar shards; hf: folder with metadata.csv for Hugging Face datasets; dicom: class folders of DICOM files."""
    certificates: Certificates = None
    """Sign each synthetic PNG file with Content Credentials (C2PA): file of the signer's certificate and its issuers,
    PEM. Needs augpipe[c2pa]."""
    key: PrivateKey = None
    """File of the signer's private key, PEM without a passphrase."""
    json: Json = False
    """Print only JSON: `arm`, `seed`, `gates`, `published`, and `out`,
    the output folder (null if nothing was published).
    """

    def folder(self, outline: Any) -> Path:
        """The output folder."""
        return self.out or home() / "balanced" / f"{outline.name}-{self.arm}"

    def check(self, outline: Any) -> None:
        """UserError for options that do not fit the experiment."""
        from .arguments import check_balance, check_form

        check_balance(outline, self.arm, self.seed, self.folder(outline), self.override)
        check_form(self.format, self.real_size)
        self.signing()

    def signing(self) -> Any:
        """The C2PA signer's files, or None; UserError if they cannot sign."""
        from augpipe.report.credentials import signing_of

        return signing_of(self.certificates, self.key, self.format)


def balance(config: Path, /, *, options: BalanceOptions) -> None:
    """Publish an arm's balanced set: its images, their lineage, and a data card.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts.
    """
    experiment = load_checked(config, options.set_, options.check)
    folder = options.folder(experiment)
    settle()
    from .arguments import note_seed
    from .balance import Order
    from .balance import run as balance_one

    handle_interrupts()
    if options.seed is not None:
        note_seed(experiment, options.seed)
    size = options.real_size or ("run" if options.format == "npz" else "original")
    order = Order(options.arm, folder, options.seed, options.override, size, options.format, signing=options.signing())
    balanced, lost = balance_one(experiment, order)
    if options.json:
        print_json(_balanced_values(balanced, folder))
    else:
        _print_gates(balanced)
    _exit_if_held_back(balanced, lost)
    if not options.json:
        print_line(f"balanced set: {folder}")
    if lost:
        raise lost


def _balanced_values(balanced: Any, folder: Path) -> dict[str, Any]:
    published = balanced.holds or balanced.override is not None
    return {
        "arm": balanced.arm.name,
        "seed": balanced.generator.seed,
        "gates": [asdict(gate) for gate in balanced.gates],
        "published": published,
        "out": str(folder) if published else None,
    }


def _print_gates(balanced: Any) -> None:
    for gate in balanced.gates:
        print_line(f"gate {gate.gate}: {'holds' if gate.holds else 'does not hold'} ({gate.detail})")


def _exit_if_held_back(balanced: Any, lost: Any) -> None:
    """Exit with GATE if a gate does not hold and nothing was published, also if MLflow misses the record of that."""
    if balanced.override is None and not balanced.holds:
        if lost and (ending := exit_message(lost)):
            print_error(ending[1])
        print_error("a gate does not hold, and nothing was published; --override REASON publishes anyway")
        sys.exit(GATE)
