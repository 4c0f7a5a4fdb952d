"""`augpipe train`: train one generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from augpipe.core.home import home

from .command_line import Out, Sets, Switch
from .engine import settle
from .entry import handle_interrupts
from .load_config import load_checked
from .output import print_line


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `augpipe train`."""

    generator: str
    """The generator's name in the config."""
    seed: int = 0
    """The replicate to train."""
    set_: Sets = ()
    """Override a config value: `--set generators.cgan.kimg=500`."""
    out: Out = None
    """Output folder (default: trained/NAME-GENERATOR-seedN below AUGPIPE_HOME)."""
    resume: Switch = False
    """Continue the training that was stopped in the output folder; its settings must be the same."""

    def folder(self, outline: Any) -> Path:
        """The output folder."""
        name = f"{outline.name}-{self.generator}-seed{self.seed}"
        return self.out or home() / "trained" / name

    def check(self, outline: Any) -> None:
        """UserError for options that do not fit the experiment."""
        from .arguments import check_train

        check_train(outline, self.generator, self.seed, self.folder(outline), self.resume)


def train(config: Path, /, *, options: TrainOptions) -> None:
    """Train one generator and write checkpoint.pt, history.csv and samples.png.

    Parameters
    ----------
    config
        A YAML file, or images in any form that `run` accepts.
    """
    generator, seed = options.generator, options.seed
    experiment = load_checked(config, options.set_, options.check, (generator,))
    folder = options.folder(experiment)
    settle()
    from .arguments import note_seed
    from .train import run as train_one

    handle_interrupts()
    note_seed(experiment, seed)
    trained, lost = train_one(experiment, generator, seed, folder, options.resume)
    print_line(
        f"best at {trained.best_kimg:g} kimg (val KID {trained.best_metric:.3g}); ended because "
        f"{trained.stopped}; {folder / 'samples.png'}"
    )
    if lost:
        raise lost
