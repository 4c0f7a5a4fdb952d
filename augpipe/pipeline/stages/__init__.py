"""The stages of a run: load by Ref, call the library, write a Ref. No stage knows who orchestrates it.

Each lies in the module whose imports are what it follows from (see `caching`); here they stand together.
"""

from __future__ import annotations

from augpipe.pipeline.stages.classifiers import train_classifier, train_features
from augpipe.pipeline.stages.data import prepare
from augpipe.pipeline.stages.fidelity import measure, measure_made
from augpipe.pipeline.stages.generators import join_generators, train_generator
from augpipe.pipeline.stages.mixes import choose, mix, search_steps
from augpipe.pipeline.stages.samples import pool, synthesise
from augpipe.pipeline.stages.scores import score

__all__ = [
    "choose", "join_generators", "measure", "measure_made", "mix", "pool", "prepare", "score", "search_steps",
    "synthesise", "train_classifier", "train_features", "train_generator",
]  # fmt: skip
