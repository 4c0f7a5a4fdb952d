from __future__ import annotations

import math

import pandas as pd
import pytest

from augpipe.core.errors import UserError
from augpipe.pipeline import experiment as config
from augpipe.pipeline.experiment import Experiment
from augpipe.synthetic import fidelity, gates
from augpipe.synthetic.options import EXTRA

NAN = math.nan
FIGURES = (*fidelity.names(), *EXTRA)


def experiment(*given: object) -> Experiment:
    values = {
        "name": "x",
        "source": {"kind": "bundled"},
        "arms": [{"name": "real"}],
        "baseline": "real",
        **({"gate": list(given)} if given else {}),
    }
    return config.build(values)


def table(*rows: tuple[str, str, float, str]) -> pd.DataFrame:
    """(class, metric, value, note) → what fidelity gives."""
    whole = [(name, metric, value, 50, 60, note) for name, metric, value, note in rows]
    return pd.DataFrame(whole, columns=list(fidelity.COLUMNS))


FOUND = table(
    ("", "agreement", 0.75, ""),
    ("", "kid", NAN, "needs 5 real images, has 3"),
    ("", "gan_train", 0.5, ""),
    ("cat", "agreement", 0.9, ""),
    ("dog", "agreement", 0.6, ""),
    ("cat", "coverage", 0.8, ""),
    ("dog", "coverage", 0.81, ""),
    ("cat", "kid", 0.01, ""),
    ("dog", "kid", NAN, "needs 5 real images, has 2"),
)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_can_be_a_gate(figure: str) -> None:
    assert experiment(f"{figure} > 0.5").gate == (f"{figure} > 0.5",)
    held = gates.outcome(f"{figure} > 0.5", table(("", figure, 0.6, "")))
    assert held.holds and held.detail == "0.6"


@pytest.mark.parametrize(
    "gate", ["agreement>0.5", "  agreement   >\t0.5 ", "each  agreement >= 1e-3", "kid < -.5", "kid <= 3"]
)
def test_gates_are_read_however_they_are_spaced(gate: str) -> None:
    assert experiment(gate).gate == (" ".join(gate.split()),)


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("agreemnt > 0.5", f"'agreemnt' (did you mean 'agreement'?); the closest of {len(FIGURES)}: agreement"),
        ("each fidd > 1", "unknown figure of the gate 'each fidd > 1': 'fidd' (did you mean 'fid'?)"),
        ("each > 1", "'each'"),
        ("agreement > high", "needs a number after >; got 'high'"),
        ("agreement > nan", "needs a number after >; got 'nan'"),
        ("agreement < inf", "needs a number after <; got 'inf'"),
        ("agreement >", "a gate is 'FIGURE > NUMBER'"),
        ("agreement 0.5", "a gate is 'FIGURE > NUMBER'"),
        ("agreement = 0.5", "a gate is 'FIGURE > NUMBER'"),
        ("agreement == 0.5", "a gate is 'FIGURE > NUMBER'"),
        ("all agreement > 0.5", "a gate is 'FIGURE > NUMBER'"),
        ("agreement > 0.5 and kid < 1", "a gate is 'FIGURE > NUMBER'"),
        ("", "got ''"),
        (0.5, "got 0.5"),
        (None, "got None"),
    ],
)
def test_what_is_no_gate_is_told_in_one_line(gate: object, told: str) -> None:
    with pytest.raises(UserError) as raised:
        experiment("memorisation.p > 0.01", gate)
    line = str(raised.value)
    assert told in line and "\n" not in line and line.startswith("the config: gate.1: ")


def test_a_gate_that_is_no_list_is_told_in_one_line() -> None:
    values = {"name": "x", "source": {"kind": "bundled"}, "arms": [{"name": "real"}], "baseline": "real"}
    with pytest.raises(UserError, match=r"^the config: gate: .*$"):
        config.build(values, ["gate=agreement > 0.5"])
    assert config.build(values, ["gate=[]"]).gate == ()


def test_without_a_word_memorisation_is_the_gate() -> None:
    assert experiment().gate == ("memorisation.p > 0.01",)


@pytest.mark.parametrize(
    ("gate", "holds"),
    [
        ("agreement > 0.75", False),
        ("agreement >= 0.75", True),
        ("agreement <= 0.75", True),
        ("agreement < 0.75", False),
        ("agreement > 0.74", True),
        ("agreement < 0.76", True),
        ("gan_train >= 0.5", True),
        ("gan_train < -1", False),
        ("each agreement > 0.59", True),
        ("each agreement > 0.6", False),
        ("each agreement >= 0.6", True),
        ("each agreement <= 0.9", True),
        ("each coverage >= 0.8", True),
        ("each coverage >= 0.805", False),  # the first class does not, the last one does
    ],
)
def test_a_gate_holds_where_the_figure_does(gate: str, holds: bool) -> None:
    found = gates.outcome(gate, FOUND)
    assert found.gate == gate and found.holds is holds


def test_the_figures_behind_an_outcome_are_told() -> None:
    assert gates.outcome("agreement > 0.8", FOUND).detail == "0.75"
    assert gates.outcome("each agreement > 0.8", FOUND).detail == "class dog: 0.6"
    assert gates.outcome("each agreement > 0.95", FOUND).detail == "class cat: 0.9; class dog: 0.6"
    assert gates.outcome("each agreement > 0.1", FOUND).detail == "in every class"


@pytest.mark.parametrize("sign", gates.OPERATORS)
def test_a_figure_that_is_not_given_holds_nothing(sign: str) -> None:
    overall = gates.outcome(f"kid {sign} 1", FOUND)
    assert not overall.holds and overall.detail == "not given, needs 5 real images, has 3"
    each = gates.outcome(f"each kid {sign} {0.02 if '<' in sign else 0.0}", FOUND)
    assert not each.holds and each.detail == "class dog: not given, needs 5 real images, has 2"
    infinite = gates.outcome(f"kid {sign} 1", table(("", "kid", math.inf, "")))
    assert not infinite.holds
    missing = gates.outcome(f"each gan_train {sign} 1", FOUND)
    assert not missing.holds and missing.detail == "not given"
    assert not gates.outcome(f"fid {sign} 1", FOUND).holds
