"""augpipe: do synthetic images help on an imbalanced image set, from which generator, how many, and how sure is that?

The library does not know Prefect or MLflow and runs from a notebook; `flows` orchestrates it. Names are imported when
they are first used, so that `import augpipe` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from augpipe.api import Fitted, fit, load, run, synthesize
    from augpipe.classifiers.arm_dataset import ArmDataset
    from augpipe.core.errors import UserError
    from augpipe.core.images import ImageSet, Splits
    from augpipe.estimators.balancer import Balancer
    from augpipe.estimators.comparison import compare
    from augpipe.estimators.synthesizer import Synthesizer
    from augpipe.pipeline.arm import Arm
    from augpipe.pipeline.experiment import Experiment
    from augpipe.report.results import Results
    from augpipe.report.run_results import RunResults

__version__ = "0.1.0"
__all__ = [
    "Arm",
    "ArmDataset",
    "Balancer",
    "Experiment",
    "Fitted",
    "ImageSet",
    "Results",
    "RunResults",
    "Splits",
    "Synthesizer",
    "UserError",
    "compare",
    "fit",
    "load",
    "run",
    "synthesize",
]
_PLACES: Final = {
    "Arm": "augpipe.pipeline.arm",
    "ArmDataset": "augpipe.classifiers.arm_dataset",
    "Balancer": "augpipe.estimators.balancer",
    "Experiment": "augpipe.pipeline.experiment",
    "ImageSet": "augpipe.core.images",
    "Results": "augpipe.report.results",
    "RunResults": "augpipe.report.run_results",
    "Splits": "augpipe.core.images",
    "Synthesizer": "augpipe.estimators.synthesizer",
    "UserError": "augpipe.core.errors",
    "compare": "augpipe.estimators.comparison",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'augpipe' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES.get(name, "augpipe.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
