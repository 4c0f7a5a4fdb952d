"""What a run looks at images with, for the stages that judge them."""

from __future__ import annotations

from augpipe.classifiers import train as classification
from augpipe.core.device import Runtime
from augpipe.core.store import Ref, Store, load_state
from augpipe.pipeline.records import Job
from augpipe.synthetic.embeddings import Eyes
from augpipe.synthetic.extractors import extractor


def eyes(job: Job, domain: Ref, store: Store | None, here: Runtime) -> Eyes:
    """What a run looks at images with."""
    judge = classification.from_state(load_state(domain), here)
    return Eyes(
        judge, here, extractor(job.experiment.fidelity.features, here), None if job.fresh else store
    )
