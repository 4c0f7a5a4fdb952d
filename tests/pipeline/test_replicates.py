"""How many generators and classifiers the confirm stage trains."""

from __future__ import annotations

import numpy as np
from planted import PAIR

from augpipe.comparison.options import Confirm
from augpipe.pipeline.replicates import Explored, design


def measured(gan: float, plain: float, seconds: float) -> Explored:
    """Scores that vary by `gan` points between generators and `plain` between classifiers;
    a generator takes `seconds`.
    """
    scores = {
        "real": plain * np.array([1.0, 0.0, -1.0]),
        "classic": plain * np.array([-1.0, 1.0, 0.0]),
        "gan": plain * np.array([-1.0, 1.0, 0.0]) + gan * np.array([1.0, 1.0, -2.0]),
    }
    times = {"real": (0.0, 1.0), "classic": (0.0, 1.0), "gan": (seconds, 1.0)}
    return Explored(scores, times, {"real": False, "classic": False, "gan": True})


def test_the_time_goes_where_the_variance_is() -> None:
    """Classifiers that vary, on dear generators: several on each; generators that vary alone: one.
    Within the same time.
    """
    options = Confirm(generators=10, classifiers="auto")
    several, why = design(options, PAIR, measured(0.1, 3.0, 60.0))
    assert isinstance(several.classifiers, int) and several.classifiers > 2
    assert 3 <= several.generators < 10 and f"{several.generators} generators with" in why
    assert several.generators * (60 + 2 * several.classifiers) <= 10 * 62
    single, _ = design(options, PAIR, measured(5.0, 0.01, 1.0))
    assert (single.generators, single.classifiers) == (10, 1)
    assert design(Confirm(classifiers=3), PAIR, measured(1, 1, 1))[0] == Confirm(classifiers=3)
    assert design(options, PAIR, None)[0].classifiers == 1
