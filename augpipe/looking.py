"""What a run looks at images with, for the stages that judge them."""

from __future__ import annotations

from augpipe import classification
from augpipe.extractors import extractor
from augpipe.features import Eyes
from augpipe.records import Job
from augpipe.runtime import Runtime
from augpipe.store import Ref, Store, load_state


def eyes(job: Job, domain: Ref, store: Store | None, here: Runtime) -> Eyes:
    """What a run looks at images with."""
    judge = classification.from_state(load_state(domain), here)
    return Eyes(
        judge, here, extractor(job.experiment.fidelity.features, here), None if job.fresh else store
    )
