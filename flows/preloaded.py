"""What every worker needs, imported and read once by the process that they are forked from (see `workers`)."""

from __future__ import annotations

import atexit
import gc
import os
from contextlib import suppress
from importlib import import_module

from augpipe.core import fingerprints

from .workers import FORKED

if os.environ.pop(FORKED, ""):  # not where something else imports this module
    atexit.register(os._exit, 0)  # with a regular end, libraries would report what they leak
gc.disable()  # as in `entry.main`
# The second: torch imports it, and with it 900 modules, at the first step of an optimiser. The others are imported
# where the stages use them, so that a run whose results are all cached does without.
for name in (f"{__package__}.tasks", "torch._dynamo", "sklearn.linear_model", "sklearn.metrics", "sklearn.covariance"):
    import_module(name)
with suppress(fingerprints.ChangedError):  # a worker that asks for it is told so
    fingerprints.fingerprint(["augpipe.pipeline.graph"])
gc.freeze()  # what is never looked at for garbage stays shared between the workers
gc.enable()
