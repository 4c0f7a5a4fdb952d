"""The nightly job: look at the source; where it changed, compare anew, and let the better model take over.

The model in service is a version in MLflow's registry under the alias `champion`. It gives way only where the challenger,
chosen by val, is shown to be better on the new test set, of which images that the champion has seen are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow import MlflowClient
from prefect.artifacts import create_markdown_artifact

from augpipe.classifiers import train as classification
from augpipe.comparison.promotion import Judgement
from augpipe.core import device as runtime
from augpipe.core.home import home
from augpipe.data.sources import place
from augpipe.pipeline import refresh as policy
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.stages.prepare import prepare
from augpipe.report.write import check_out

from . import compare
from .compare import Compared
from .registry import WEIGHTS, Registry
from .starting import looking
from .tracking.artifacts import plain, slug
from .tracking.pending import Pending
from .tracking.store import check_store, where
from .tracking.tracker import report

PROBLEM: Final = "augpipe.problem"  # tag


@dataclass(frozen=True)
class Refreshed:
    """What a look came to, in a line, and whether another model is in service since."""

    told: str
    promoted: bool
    out: Path | None  # of the comparison, where there was one


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
    with looking(config) as context:  # until the end: nothing that a look reads is pruned meanwhile
        fingerprint = prepare(context, config).intake.fingerprint
        if Pending(report).result(
            lambda: classifiers.looked() == policy.state_of_source(config, fingerprint)
        ):
            found = Refreshed(
                f"unchanged since the last look (source {fingerprint}); nothing to do", False, None
            )
        else:
            found = _challenge(client, classifiers, config, folder)
    create_markdown_artifact(
        plain(found.told), f"{slug(config.name)}-refresh", "What a look came to"
    )
    return found


def _challenge(
    client: MlflowClient, classifiers: Registry, config: Experiment, folder: Path
) -> Refreshed:
    """Compare, register the challenger's models, and promote them where they are shown to be better."""
    # Read first: a champion that cannot be is told before a night of training.
    champion = Pending(report).result(lambda: _in_service(classifiers, config))
    compared = compare.run(config, folder)
    choice = policy.choose(compared.results.scores)
    run = compared.runs.arms[choice.arm, choice.seed]
    if run.classifier is None:
        raise RuntimeError(f"arm {choice.arm!r} was compared without a classifier")
    new = policy.Challenger(choice, run.classifier.state, run.prepared)
    judged = policy.decide(champion, new, config, _here(config))
    if judged is None:
        # Its record stays as it is: it says why it was promoted.
        told = f"the champion stays: val chose it again, arm {choice.arm!r}, seed {choice.seed}"
    else:
        told = Pending(report).result(
            lambda: _settle(client, classifiers, config, compared, new, judged)
        )
    failed = compared.results.failed
    if failed:
        # Nothing is put on record as looked at: what failed is tried again at the next look.
        told += f"; not compared, for they failed: {', '.join(failed)}"
    else:
        source = compared.results.intake.fingerprint
        Pending(report).result(
            lambda: classifiers.looked_at(policy.state_of_source(config, source))
        )
    return Refreshed(told, judged is not None and judged.promote, folder)


def _in_service(classifiers: Registry, config: Experiment) -> policy.Champion | None:
    version = classifiers.champion()
    if version is None:
        return None

    # On the CPU, which is always there: what fails is the checkpoint's own fault.
    here = runtime.start("cpu", "32-true", runtime.cores())

    def use(state: dict[str, Any]) -> object:
        return classification.from_state(state, here)

    tags = version.tags
    return policy.Champion(
        classifiers.weights(version, use),
        tags.get(WEIGHTS),
        tags.get(PROBLEM),
        classifiers.seen(version),
    )


def _settle(
    client: MlflowClient, classifiers: Registry, config: Experiment, compared: Compared,
    new: policy.Challenger, judged: Judgement,
) -> str:  # fmt: skip
    """Put the challenger's models into the registry, and into service where they were judged to be; a line on it.

    May be done again after a stop at any place: what is registered is found by its weights.
    """
    choice, word = new.choice, "promoted" if judged.promote else "kept out"
    tags = {
        PROBLEM: policy.problem(new.prepared, config),
        "augpipe.arm": choice.arm,
        "augpipe.seed": str(choice.seed),
        "augpipe.val_macro_recall": f"{choice.val:.4f}",
        "augpipe.data": compared.results.fingerprint,
        "augpipe.source": compared.results.intake.fingerprint,
        "augpipe.comparison": compared.run,
        "augpipe.failed": ", ".join(compared.results.failed),
        "augpipe.promotion": f"{word}: {judged.reason}",
    }
    logged = compared.logged["classifier", choice.arm, choice.seed]
    classifiers.keep_seen(logged, policy.seen_images(new.prepared))
    arm = next(result.arm for result in compared.results.arms if result.arm.name == choice.arm)
    registered = []
    for name in arm.generators:
        # One generator has a name that stays; of several that an arm pools, each has its own.
        own = "" if len(arm.generators) == 1 else f"-{name}"
        registry, key = Registry(client, f"{config.name}-generator{own}"), (name, choice.seed)
        if ("generator", *key) not in compared.logged:
            continue  # it could not be logged, and the run has reported why
        weights = compared.runs.generators[key].trained.checkpoint.sha256
        registered.append(
            (registry, registry.register(compared.logged["generator", *key], weights, tags))
        )
    tags["augpipe.generator"] = ", ".join(f"{r.name} {v.version}" for r, v in registered) or "none"
    registered.append((classifiers, classifiers.register(logged, new.state.sha256, tags)))
    client.set_tag(compared.run, "augpipe.promotion", tags["augpipe.promotion"][:5000])
    if judged.promote:
        for registry, version in registered:
            registry.promote(version)
    what = f"arm {choice.arm!r}, seed {choice.seed}, version {registered[-1][1].version}"
    return f"{'promoted' if judged.promote else 'kept the champion over'} {what}: {judged.reason}"


def _here(config: Experiment) -> runtime.Runtime:
    return runtime.start(config.runner.device, config.runner.precision, runtime.cores())
