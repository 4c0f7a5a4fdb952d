"""Read the source in this process, before a server or a worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.stages.prepare import prepare

from .progress import bar
from .retries import retried

NONE: Final[Mapping[int, Prepared]] = MappingProxyType({})
# The splits that the command `refresh` has read before it started the flow, whose parameters are plain values.
READ: ContextVar[Mapping[int, Prepared]] = ContextVar("READ", default=NONE)


def splits_by_seed(
    experiment: Experiment, context: Context, seeds: tuple[int, ...], known: Mapping[int, Prepared] = NONE
) -> dict[int, Prepared]:
    """Splits of each seed: the same for all, unless the experiment draws one split per seed.

    UserError for what the images show. Tried again if the source or the store fails for a moment. known: splits that
    were read just now; the source is not read again for them.
    """

    def read(seed: int | None) -> Prepared:
        with bar("reading images") as progress:
            return retried(lambda: prepare(context, experiment, seed, progress))

    if experiment.resplit:
        return {seed: known.get(seed) or read(seed) for seed in seeds}
    return dict.fromkeys(seeds, next(iter(known.values()), None) or read(None))
