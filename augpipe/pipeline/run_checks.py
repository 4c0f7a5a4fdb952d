"""The checks of a finished run, for further images of one of its generators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.core.home import home
from augpipe.core.store import Store
from augpipe.pipeline import cache
from augpipe.pipeline.context import Context, workers_and_threads
from augpipe.pipeline.experiment import Experiment, load
from augpipe.pipeline.model_places import CONFIG, SUMMARY, check_run
from augpipe.pipeline.pruning import running
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.stages.embed import feature_extractor
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.synthesize import curator_of
from augpipe.pipeline.stages.train_classifier import train_reference
from augpipe.synthetic.curation import Curator
from augpipe.synthetic.draw import Filter, Rows, Values


@dataclass(frozen=True)
class ByClass:
    """The checks of classes for images of a generator of cells (see `Prepared.by`). class_of: class of each label."""

    curator: Curator
    class_of: tuple[int, ...]

    @property
    def rounds(self) -> int:
        """See `Filter`."""
        return self.curator.rounds

    @property
    def oversample(self) -> float:
        """See `Filter`."""
        return self.curator.oversample

    def check(self, images: NDArray[np.uint8], labels: Rows) -> tuple[Rows, Values]:
        """See `Filter`."""
        return self.curator.check(images, np.array(self.class_of)[labels])

    def keep(self, images: NDArray[np.uint8], labels: Rows) -> None:
        """See `Filter`."""
        self.curator.keep(images, np.array(self.class_of)[labels])


@contextmanager
def run_checks(folder: Path, file: str) -> Iterator[Filter]:
    """The checks of the run in an out folder, for its generator in `file` of models/; the store is in use while the
    block lasts.

    The source is read again. The real-only classifier of the generator's seed comes from the store, or is trained again
    if it is no longer there. UserError if the folder is no run's, the run checks nothing, or its source has changed.
    """
    check_run(folder)
    experiment = load(folder / CONFIG)
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if not experiment.curation.checks:
        raise UserError(f"the run {folder} checks no images (curation.checks is empty)")
    seed = int(summary["models"][file]["seed"])
    store = Store(home() / "store")
    with running(store):
        context = _context(experiment, store)
        prepared = prepare(context, experiment, seed if experiment.resplit else None)
        _check_same(prepared, experiment, str(summary["data"]["fingerprint"]), folder)
        reference = cache.run(train_reference, context, prepared, experiment.classifier, seed).value
        features, runtime = experiment.fidelity.features, context.runtime()
        stored = feature_extractor(reference, features, runtime, store)
        fresh = feature_extractor(reference, features, runtime, None)
        curator = curator_of(experiment.curation, prepared, stored, fresh)
        by = experiment.conditions.get(str(summary["models"][file]["name"]), ())
        yield ByClass(curator, prepared.by(by).class_of) if by else curator


def _context(experiment: Experiment, store: Store) -> Context:
    """As of the run: results depend on the number of threads."""
    runner = experiment.runner
    _, threads = workers_and_threads(runner, len(experiment.seeds) * len(experiment.arms))
    return Context(root=store.root, device=runner.device, precision=runner.precision, threads=threads).resolved()


def _check_same(prepared: Prepared, experiment: Experiment, fingerprint: str, folder: Path) -> None:
    # With a split for each seed the summary has the fingerprint of the first seed's alone.
    if not experiment.resplit and prepared.fingerprint != fingerprint:
        raise UserError(
            f"the images of the run {folder} have changed since (fingerprint {prepared.fingerprint}, was "
            f"{fingerprint}): its checks would be others; run it again, or use --unchecked"
        )
