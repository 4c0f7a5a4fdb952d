"""One training in two processes is one process's of the same global batch, but for the order of sums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import teams
import warm
import yaml
from contracts import VARIANTS, tiny
from in_process import call
from tiny import CONFIG, augpipe

from augpipe.generators import families

TRAINED = [n for n in [*families.names(), *VARIANTS] if tiny(n).generative or "deepsmote" in n]
NAMES = [n for n in TRAINED if not tiny(n).per_class]
STEPS = 6
BAGANS = [n for n in NAMES if n.startswith("bagan")]
# Relative to the loss, or to 1. BAGAN fits Gaussians to what its autoencoder's convolutions give; their biases before
# batch norms have no gradient but rounding, of which Adam makes whole steps: weights changed by 1e-7 at the beginning
# move its losses as far.
SAME, BAGAN = 1e-5, 5e-2


def together(work: Callable[..., Any], *given: Any) -> Any:
    """What a team of two gives; its processes are forks, but for `test_none_outlives_the_one_that_began_them`."""
    return warm.call(teams.launched, work, *given, workers=2)


def _x_and_weight() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(2, 3, (6, 3, 4, 4)), rng.normal(size=(6, 3, 4, 4))


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes that train together give: one team does all that leaves it whole."""
    calls: dict[str, tuple[str, tuple[Any, ...]]] = {
        "in step": ("in_step", (NAMES, STEPS)),
        "bagans": ("in_step", (BAGANS, 3, True)),
        "cgan": ("fitted", ("cgan",)),
        "acgan": ("fitted", ("acgan",)),
        "normed": ("normed", _x_and_weight()),
        "halves": ("halves", (12,)),
        "whole": ("resumed", (str(tmp_path_factory.mktemp("team") / "whole.pt"), False)),
        "large": ("large", ()),
    }
    return together(teams.several, calls)


@pytest.fixture(scope="module")
def two(team) -> dict[str, tuple[teams.Told, np.ndarray, object]]:
    return team["in step"]


@pytest.fixture(scope="module")
def one() -> dict[str, tuple[teams.Told, np.ndarray, object]]:
    return teams.in_step(NAMES, STEPS)


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_images_are_those_of_one_process(name, one, two) -> None:
    tolerance = BAGAN if name.startswith("bagan") else SAME
    for alone, together in zip(one[name][0], two[name][0], strict=True):
        assert set(alone) == set(together)
        for key, value in alone.items():
            assert together[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key
    first_alone, first_together = one[name][0][0], two[name][0][0]
    assert first_together == pytest.approx(first_alone, rel=SAME, abs=SAME)
    apart = np.abs(one[name][1].astype(float) - two[name][1].astype(float))
    assert apart.mean() < (10 if name.startswith("bagan") else 0.5)  # grey levels


def test_bagan_past_its_autoencoder_from_the_first_step(team) -> None:
    """Its Gaussians are of equal encodings then: critic, fakes, wrong labels and penalties to rounding."""
    alone = teams.in_step(BAGANS, 3, True)
    together = team["bagans"]
    for name in BAGANS:
        for a, b in zip(alone[name][0], together[name][0], strict=True):
            assert "loss_d" in a and b == pytest.approx(a, rel=SAME, abs=SAME), name


@pytest.mark.parametrize("name", [n for n in NAMES if "ADA" in n])
def test_adas_controller_sees_the_scores_of_all(name, one, two) -> None:
    assert one[name][2] == two[name][2]
    assert one[name][2]["images"] == 8 * (STEPS % 4)  # type: ignore[index]


@pytest.mark.parametrize("name", ["cgan", "acgan"])
def test_a_whole_training_shows_the_same_class_uniform_rows(name, team) -> None:
    alone = teams.fitted(name)
    together = team[name]
    assert together[1] == alone[1]
    # 40, 6 and 5 images a class; drawn by natural frequency four in five would be of the first.
    assert np.bincount(alone[1]).max() < 0.5 * len(alone[1])
    assert set(alone[2]) == {8} and set(together[2]) == {4}
    for a, b in zip(alone[0], together[0], strict=True):
        assert a[0] == b[0] and a[1] == pytest.approx(b[1], abs=0.5)
        assert b[2] == pytest.approx(a[2], rel=1e-3, abs=1e-3)  # of 20 steps


def test_batch_norm_of_all_and_its_gradients_of_gradients(team) -> None:
    x, weight = _x_and_weight()
    alone = teams.normed(x, weight)
    together = team["normed"]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * float(np.abs(a).max()))


def test_more_than_a_pipe_holds_comes_back(team) -> None:
    assert len(team["large"]) == 1_000_000


def test_a_training_in_two_goes_on_where_it_broke_to_the_same_bytes(tmp_path: Path, team) -> None:
    whole = team["whole"]
    with pytest.raises(RuntimeError, match="second tick"):
        together(teams.resumed, str(tmp_path / "broken.pt"), True)
    again = together(teams.resumed, str(tmp_path / "broken.pt"), False)
    assert again[0] == whole[0] and (again[1] == whole[1]).all()


def test_groups_that_lie_in_two_processes(team) -> None:
    for a, b in zip(teams.halves(12), team["halves"], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_a_run_trains_its_generators_on_two(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG)
    config |= {"arms": [a for a in config["arms"] if a["name"] in ("real", "acgan")], "seeds": 1}
    config["fidelity"] = {"images": 8, "gan_train": False}
    config["classifier"] |= {"steps": 5, "evaluations": 1}
    config["generators"]["acgan"] |= {"kimg": 0.2, "ticks": 1}
    runner = {"devices": 2, "device": "cpu", "workers": 1, "threads": 1}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config | {"runner": runner}))
    ran = augpipe(tmp_path, "run", "two.yaml", "--out", "out")
    assert ran.status == 0, ran.err[-2000:]
    assert "GLOBAL_RANK" not in ran.out + ran.err and "Mixed" not in ran.out + ran.err
    scores = pd.read_csv(ran.folder / "scores.csv")
    assert set(scores["arm"]) == {"real", "acgan"}
    records = (ran.home / "store" / "records").glob("train_generator-*.json")
    assert {json.loads(r.read_bytes())["depends_on"]["with"]["processes"] for r in records} == {2}


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        ({"devices": 65}, "less than or equal to 64"),
        ({"devices": 4}, "runner.devices, 4, must divide the batch of generator 'acgan', 50"),
        ({"devices": 2, "kind": "dask", "address": "tcp://127.0.0.1:8786"}, "a Dask worker has one"),
    ],
)
def test_what_cannot_be_divided_is_told_in_a_line(runner, said, tmp_path: Path, monkeypatch, capsys) -> None:
    config = yaml.safe_load(CONFIG) | {"runner": runner}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    status, line = call(monkeypatch, capsys, "run", "bad.yaml", "--out", "out")
    assert status == 2 and said in line and "\n" not in line
    assert not (tmp_path / "out").exists()
