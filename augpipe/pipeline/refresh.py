"""Policy of a scheduled run: what counts as changed, which model challenges the one in service, and when it replaces
it.

The model in service (champion) is replaced only if the challenger is shown to be better on the new test set. The
challenger is of the arm that the confirm stage decided for, or else of the one that val chose. Test images that the
champion has learned from, or was chosen by, are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.classifiers import trained as trained_classifier
from augpipe.comparison.promotion import Decision, decision, fingerprints, unseen
from augpipe.comparison.units import Units
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.confirm import Confirmed, NotConfirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.runs import ArmRun, Runs

APART: Final = ("runner",)  # parts of an experiment that a model does not depend on


@dataclass(frozen=True)
class Champion:
    """The model in service. weights: SHA-256 of its checkpoint. problem: see `problem`. seen: see `seen_images`.

    None: not recorded.
    """

    state: Mapping[str, Any]
    weights: str | None
    problem: str | None
    seen: NDArray[np.uint64] | None


@dataclass(frozen=True)
class Choice:
    """An arm and seed, and the seed's macro recall on val. generator: seed of its generators, None: the same. decision:
    of the confirm stage, by which the arm was chosen; "" if val chose it."""

    arm: str
    seed: int
    val: float
    generator: int | None = None
    decision: str = ""


@dataclass(frozen=True)
class Challenger:
    """A classifier, why it challenges, and the data that it was trained on."""

    choice: Choice
    state: Ref
    prepared: Prepared


def state_of_source(experiment: Experiment, fingerprint: str) -> str:
    """SHA-256 of the source's fingerprint and of the experiment: if equal to that of the last run, nothing is done.

    The champion is no part of it: a model that was taken out of service by hand stays out of service.
    """
    values = experiment.model_dump(mode="json", exclude=set(APART))
    text = json.dumps([fingerprint, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def choose(scores: pd.DataFrame) -> Choice:
    """The arm with the best mean macro recall over seeds on val, and its best seed.

    scores: columns arm, seed, split, metric, class, value. Ties: the first.
    """
    val = _on_val(scores)
    arm = str(val.groupby("arm", sort=False).value.mean().idxmax())
    seeds = val[val.arm == arm].set_index("seed").value
    return Choice(arm, int(seeds.idxmax()), float(seeds.max()))


def challenger(scores: pd.DataFrame, runs: Runs, confirmed: Confirmed | NotConfirmed) -> tuple[Choice, ArmRun]:
    """The training that challenges: of the arm that the confirm stage decided for, that stage's best one on val;
    without a decision as by `choose`. scores, runs: of the explore stage.
    """
    if isinstance(confirmed, NotConfirmed) or confirmed.winner is None:
        choice = choose(scores)
        return choice, runs.arms[choice.arm, choice.seed]
    val = _on_val(confirmed.scores)
    best = val.loc[val[val.arm == confirmed.winner].value.idxmax()]
    choice = Choice(
        str(best.arm), int(best.seed), float(best.value), int(best.generator_seed), confirmed.outcome.decision
    )
    return choice, confirmed.runs.arms[choice.arm, choice.seed]


def _on_val(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[(scores.split == "val") & (scores.metric == "macro_recall") & (scores["class"] == "")]


def problem(prepared: Prepared, experiment: Experiment) -> str:
    """The task of a classifier as one line: image shape, image options, classes in label order."""
    shape = "x".join(map(str, prepared.problem.spec.shape))
    classes = json.dumps(list(prepared.classes), ensure_ascii=False)
    return f"{shape} images ({experiment.image.model_dump_json()}) of {classes}"


def seen_images(prepared: Prepared) -> NDArray[np.uint64]:
    """Fingerprints of all images that a model was trained on or chosen by: train and val."""
    sides = (prepared.splits.train, prepared.splits.val)
    return np.unique(np.concatenate([fingerprints(load_images(side)) for side in sides]))


def refusal(champion: Champion, problem: str) -> str | None:
    """Why the champion cannot be compared with a model for `problem`; None if it can."""
    if champion.problem != problem:
        return (
            f"the champion is for {champion.problem or 'an unknown problem'}, the data are {problem}: "
            "they cannot be compared"
        )
    if champion.seen is None:
        return "the training images of the champion are not on record"
    return None


def decide(
    champion: Champion | None, challenger: Challenger, experiment: Experiment, runtime: Runtime
) -> Decision | None:
    """Whether the challenger replaces the champion; None if it is the champion, chosen again."""
    if champion is None:
        return Decision(True, "there was no champion", None)
    if champion.weights == challenger.state.sha256:
        return None
    reason = refusal(champion, problem(challenger.prepared, experiment))
    if reason is not None or champion.seen is None:
        return Decision(False, reason or "", None)
    test = load_images(challenger.prepared.splits.test)
    rows = unseen(test, champion.seen)
    units = Units(np.array(test.labels[rows]), test.table.group.to_numpy()[rows])
    theirs, ours = (_predicted(state, test, runtime) for state in (champion.state, load_state(challenger.state)))
    return decision(theirs[rows], ours[rows], units, experiment.promotion)


def _predicted(state: Mapping[str, Any], test: ImageSet, runtime: Runtime) -> NDArray[np.int64]:
    """The predicted class of each test image, (N,)."""
    probabilities = trained_classifier.predict(trained_classifier.from_state(dict(state), runtime), test, runtime)
    predicted: NDArray[np.int64] = probabilities.argmax(1)
    return predicted
