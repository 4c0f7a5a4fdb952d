"""The nightly job: look at the source; where it changed, compare anew, and let the better model take over.

The model in service is a version in MLflow's registry under the alias `champion`. It gives way only where the challenger,
chosen by val, is shown to be better on the new test set, of which images that the champion has seen are left out.
"""

# No `from __future__ import annotations` here: Prefect makes a model of the flow's parameters, and where it does so in a
# process of its own it does not find what annotations that are text would name.
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from augpipe.classifiers import train as classification
from augpipe.comparison.promotion import Judgement, fingerprints, judge, unseen
from augpipe.comparison.units import Units
from augpipe.core import device as runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import numpy_stream
from augpipe.core.store import Ref, home, load_images, load_state
from augpipe.data.sources import place
from augpipe.pipeline import stages
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared
from augpipe.report.write import check_out
from flows import compare
from flows.compare import Compared
from flows.engine import prefect_api
from flows.registry import CHAMPION, WEIGHTS, Registry
from flows.starting import looking
from flows.tracking.artifacts import plain, slug
from flows.tracking.pending import Pending
from flows.tracking.store import check_store, where
from flows.tracking.tracker import report

# Of an experiment, what a model does not follow from.
APART: Final = ("runner",)
PROBLEM: Final = "augpipe.problem"  # tag
# Its checkpoint, its version's tags, and fingerprints of the images that it has seen, where they are on record.
Champion = tuple[dict[str, Any], Mapping[str, str], NDArray[np.uint64] | None]


@dataclass(frozen=True)
class Refreshed:
    """What a look came to, in a line, and whether another model is in service since."""

    told: str
    promoted: bool
    out: Path | None  # of the comparison, where there was one


def run(experiment: Experiment, out: Path | None = None) -> Refreshed:
    """`refresh` from the command: on a Prefect server of its own where none is given."""
    with prefect_api():
        return refresh(experiment, out)


@flow(name="refresh", flow_run_name="refresh {config.name}")
def refresh(config: Experiment, out: Path | None = None) -> Refreshed:
    """Compare anew where the source or the config changed, and promote the better model.

    config: the experiment. out: where the report goes; runs/NAME below AUGPIPE_HOME by default.
    """
    folder = (out or home() / "runs" / config.name).absolute()
    check_out(folder, place(config.source))
    check_store()
    mlflow.set_tracking_uri(where()[0])  # `models:/` addresses are looked up there
    client = MlflowClient()
    classifiers = Registry(client, f"{config.name}-classifier")
    with looking(config) as job:  # until the end: nothing that a look reads is pruned meanwhile
        fingerprint = stages.prepare(job).intake.fingerprint
        if Pending(report).result(lambda: classifiers.looked() == _looked(config, fingerprint)):
            found = Refreshed(
                f"unchanged since the last look (source {fingerprint}); nothing to do", False, None
            )
        else:
            found = _challenge(client, classifiers, config, folder)
    create_markdown_artifact(
        plain(found.told), f"{slug(config.name)}-refresh", "What a look came to"
    )
    return found


def _looked(config: Experiment, fingerprint: str) -> str:
    """The source and the config of a look: equal ones need no other.

    Not the champion: who takes one out of service by hand does not want it back the next night.
    """
    values = config.model_dump(mode="json", exclude=set(APART))
    text = json.dumps([fingerprint, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class _Challenger:
    """The arm and seed that val chose, and its classifier."""

    arm: str
    seed: int
    val: float
    state: Ref
    prepared: Prepared


def _challenge(
    client: MlflowClient, classifiers: Registry, config: Experiment, folder: Path
) -> Refreshed:
    """Compare, register the challenger's models, and promote them where they are shown to be better."""
    # Read first: a champion that cannot be is told before a night of training.
    champion = Pending(report).result(lambda: _in_service(classifiers, config))
    compared = compare.run(config, folder)
    new = _chosen(compared)
    judged = Judgement(True, "there was no champion", None)
    if champion is not None and champion[1].get(WEIGHTS) == new.state.sha256:
        # Its record stays as it is: it says why it was promoted.
        judged = Judgement(False, "", None)
        told = f"the champion stays: val chose it again, arm {new.arm!r}, seed {new.seed}"
    else:
        if champion is not None:
            judged = _judged(champion, new, config)
        told = Pending(report).result(
            lambda: _settle(client, classifiers, config, compared, new, judged)
        )
    failed = compared.results.failed
    if failed:
        # Nothing is put on record as looked at: what failed is tried again at the next look.
        told += f"; not compared, for they failed: {', '.join(failed)}"
    else:
        source = compared.results.intake.fingerprint
        Pending(report).result(lambda: classifiers.looked_at(_looked(config, source)))
    return Refreshed(told, judged.promote, folder)


def _in_service(classifiers: Registry, config: Experiment) -> Champion | None:
    version = classifiers.champion()
    if version is None:
        return None

    # On the CPU, which is always there: what fails is the checkpoint's own fault.
    here = runtime.start("cpu", "32-true", runtime.cores())

    def use(state: dict[str, Any]) -> object:
        return classification.from_state(state, here)

    return classifiers.weights(version, use), version.tags, classifiers.seen(version)


def _settle(
    client: MlflowClient, classifiers: Registry, config: Experiment, compared: Compared,
    new: _Challenger, judged: Judgement,
) -> str:  # fmt: skip
    """Put the challenger's models into the registry, and into service where they were judged to be; a line on it.

    May be done again after a stop at any place: what is registered is found by its weights.
    """
    word = "promoted" if judged.promote else "kept out"
    tags = {
        PROBLEM: problem(new.prepared, config),
        "augpipe.arm": new.arm,
        "augpipe.seed": str(new.seed),
        "augpipe.val_macro_recall": f"{new.val:.4f}",
        "augpipe.data": compared.results.fingerprint,
        "augpipe.source": compared.results.intake.fingerprint,
        "augpipe.comparison": compared.run,
        "augpipe.failed": ", ".join(compared.results.failed),
        "augpipe.promotion": f"{word}: {judged.reason}",
    }
    logged = compared.logged["classifier", new.arm, new.seed]
    sides = (new.prepared.splits.train, new.prepared.splits.val)
    prints = np.unique(np.concatenate([fingerprints(load_images(side)) for side in sides]))
    classifiers.keep_seen(logged, prints)
    arm = next(result.arm for result in compared.results.arms if result.arm.name == new.arm)
    registered = []
    for name in arm.generators:
        # One generator has a name that stays; of several that an arm pools, each has its own.
        own = "" if len(arm.generators) == 1 else f"-{name}"
        registry, key = Registry(client, f"{config.name}-generator{own}"), (name, new.seed)
        weights = compared.checkpoints[key].sha256
        registered.append(
            (registry, registry.register(compared.logged["generator", *key], weights, tags))
        )
    tags["augpipe.generator"] = ", ".join(f"{r.name} {v.version}" for r, v in registered) or "none"
    registered.append((classifiers, classifiers.register(logged, new.state.sha256, tags)))
    client.set_tag(compared.run, "augpipe.promotion", tags["augpipe.promotion"][:5000])
    if judged.promote:
        for registry, version in registered:
            registry.promote(version)
    what = f"arm {new.arm!r}, seed {new.seed}, version {registered[-1][1].version}"
    return f"{'promoted' if judged.promote else 'kept the champion over'} {what}: {judged.reason}"


def _chosen(compared: Compared) -> _Challenger:
    """The arm with the best mean over seeds on val, and of its seeds the best one."""
    s = compared.results.scores
    own = s[(s.split == "val") & (s.metric == "macro_recall") & (s["class"] == "")]
    means = own.groupby("arm", sort=False).value.mean()
    arm = str(means.idxmax())
    seeds = own[own.arm == arm].set_index("seed").value
    seed = int(seeds.idxmax())
    state = compared.states[arm, seed]
    return _Challenger(arm, seed, float(seeds.max()), state, compared.prepared[seed])


def _judged(champion: Champion, new: _Challenger, config: Experiment) -> Judgement:
    """The champion against the challenger, on test images that neither has seen."""
    state, tags, seen = champion
    theirs, ours = tags.get(PROBLEM), problem(new.prepared, config)
    if theirs != ours:
        told = f"the champion is for {theirs or 'nobody knows what'}, the data are {ours}"
        return Judgement(False, f"{told}: they cannot be compared", None)
    if seen is None:
        return Judgement(False, "what the champion has learned from is not on record", None)
    test = load_images(new.prepared.splits.test)
    rows = unseen(test, seen)
    units = Units(np.array(test.labels[rows]), test.table.group.to_numpy()[rows])
    rng = numpy_stream(config.split.seed, CHAMPION)
    theirs_said, ours_said = (_said(one, test, config) for one in (state, load_state(new.state)))
    return judge(theirs_said[rows], ours_said[rows], units, config.promotion, rng)


def problem(prepared: Prepared, config: Experiment) -> str:
    """What a classifier is for: how images are prepared, their shape, the classes in label order, in one line."""
    shape = "x".join(map(str, prepared.problem.spec.shape))
    classes = json.dumps(list(prepared.classes), ensure_ascii=False)
    image = config.image.model_dump_json()
    return f"{shape} images ({image}) of {classes}"


def _here(config: Experiment) -> runtime.Runtime:
    return runtime.start(config.runner.device, config.runner.precision, runtime.cores())


def _said(state: dict[str, Any], test: ImageSet, config: Experiment) -> NDArray[np.int64]:
    """What a classifier takes each test image for, as it does in service."""
    here = _here(config)
    found = classification.predict(classification.from_state(state, here), test, here)
    said: NDArray[np.int64] = found.argmax(1)
    return said
