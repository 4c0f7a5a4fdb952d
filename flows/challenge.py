"""The scheduled job: if the source changed, run the comparison again and promote the better model.

The model in service is the version with the alias `champion` in MLflow's registry. It is replaced only if the
challenger, chosen by the confirm stage or else on val, is shown to be better on the new test set, without test images
that the champion has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow import MlflowClient
from prefect.artifacts import create_markdown_artifact

from augpipe.classifiers import trained as trained_classifier
from augpipe.comparison.promotion import Decision
from augpipe.core import device as runtime
from augpipe.core.home import home
from augpipe.core.machine import cores
from augpipe.pipeline import refresh as policy
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared
from augpipe.report.out import check_out

from . import compare
from .compare import FlowResult
from .flow_calls import optional
from .output import report
from .registry import WEIGHTS, Registry
from .source_splits import READ, splits_by_seed
from .startup import local_context
from .tracking.artifacts import plain, slug
from .tracking.pending import Pending, TrackingLostError
from .tracking.store import check_store, tracking_uri

PROBLEM: Final = "augpipe.problem"  # tag


@dataclass(frozen=True)
class Refreshed:
    """Outcome of a refresh: a message, and whether another model was put into service."""

    message: str
    promoted: bool
    out: Path | None  # of the comparison, if one was run


def refresh(config: Experiment, out: Path | None = None) -> Refreshed:
    """If the source or the config changed, run the comparison again and promote the better model.

    config: the experiment. out: the report's folder, by default runs/NAME below AUGPIPE_HOME.
    """
    folder = (out or home() / "runs" / config.name).absolute()
    check_out(folder, config.places)
    check_store()
    mlflow.set_tracking_uri(tracking_uri()[0])  # for `models:/` addresses
    client = MlflowClient()
    classifiers = Registry(client, f"{config.name}-classifier")
    with local_context(config) as context:  # until the end, so that nothing read here is pruned
        read = READ.get() or splits_by_seed(config, context, config.seeds[:1])
        fingerprint = read[config.seeds[0]].intake.fingerprint
        if Pending(report).result(lambda: classifiers.last_state() == policy.state_of_source(config, fingerprint)):
            refreshed = Refreshed(f"unchanged since the last check (source {fingerprint}); nothing to do", False, None)
        else:
            refreshed = _challenge(client, classifiers, config, folder, read)
    key, text = f"{slug(config.name)}-refresh", plain(refreshed.message)
    with optional():
        create_markdown_artifact(text, key, "Result of the refresh")
    return refreshed


def _challenge(
    client: MlflowClient, classifiers: Registry, config: Experiment, folder: Path, read: Mapping[int, Prepared]
) -> Refreshed:
    """Compare, register the challenger's models, and promote them if they are shown to be better."""
    # Read first: an invalid champion is reported before hours of training.
    champion = Pending(report).result(lambda: _in_service(classifiers, config))
    compared = compare.run(config, folder, known=read)
    done = f"the comparison is complete ({folder / 'report.html'})"
    if compared.lost:  # its models may not be there to be registered
        raise TrackingLostError(f"{done}; {compared.lost}")
    confirmed = compared.results.confirmed
    choice, run = policy.challenger(compared.results.scores, compared.runs, confirmed)
    if run.classifier is None:
        raise RuntimeError(f"arm {choice.arm!r} was compared without a classifier")
    new = policy.Challenger(choice, run.classifier.state, run.prepared)
    decision = policy.decide(champion, new, config, _here(config))
    if decision is None:
        # Its tags stay as they are: they say why it was promoted.
        who = "the confirm stage" if choice.decision else "val"
        message = f"the champion stays: {who} chose it again, arm {choice.arm!r}, seed {choice.seed}"
    else:
        message = Pending(report).last_result(
            lambda: _register(client, classifiers, config, compared, new, decision), "the models in the registry", done
        )
    failed = compared.results.failed
    if failed:
        # The state is not recorded as checked, so that the failed arms are tried again next time.
        message += f"; not compared because they failed: {', '.join(failed)}"
    else:
        source = compared.results.intake.fingerprint
        Pending(report).last_result(
            lambda: classifiers.record_state(policy.state_of_source(config, source)),
            "that the source was checked",
            message,
        )
    return Refreshed(message, decision is not None and decision.promote, folder)


def _in_service(classifiers: Registry, config: Experiment) -> policy.Champion | None:
    version = classifiers.champion()
    if version is None:
        return None

    # On the CPU, which is always available: any error is then the checkpoint's.
    cpu = runtime.start("cpu", "32-true", cores())

    def use(state: dict[str, Any]) -> object:
        return trained_classifier.from_state(state, cpu)

    tags = version.tags
    return policy.Champion(
        classifiers.weights(version, use), tags.get(WEIGHTS), tags.get(PROBLEM), classifiers.seen(version)
    )


def _register(
    client: MlflowClient,
    classifiers: Registry,
    config: Experiment,
    compared: FlowResult,
    new: policy.Challenger,
    decision: Decision,
) -> str:
    """Register the challenger's models, promote them if the decision says so, and return a message.

    Safe to repeat after an interruption at any point: registered models are looked up by their weights.
    """
    choice, verb = new.choice, "promoted" if decision.promote else "kept out"
    tags = {
        PROBLEM: policy.problem(new.prepared, config),
        "augpipe.arm": choice.arm,
        "augpipe.seed": str(choice.seed),
        "augpipe.val_macro_recall": f"{choice.val:.4f}",
        "augpipe.decision": choice.decision or "none",
        "augpipe.data": compared.results.fingerprint,
        "augpipe.source": compared.results.intake.fingerprint,
        "augpipe.comparison": compared.run,
        "augpipe.failed": ", ".join(compared.results.failed),
        "augpipe.promotion": f"{verb}: {decision.reason}",
    }
    logged = compared.logged["classifier", choice.arm, choice.seed]
    classifiers.log_seen(logged, policy.seen_images(new.prepared))
    arm = next(result.arm for result in compared.results.arms if result.arm.name == choice.arm)
    registered = []
    for name in arm.generators:
        # A single generator keeps one registry name; each generator of a pool has a name of its own.
        suffix = "" if len(arm.generators) == 1 else f"-{name}"
        seed = choice.seed if choice.generator is None else choice.generator
        registry, key = Registry(client, f"{config.name}-generator{suffix}"), (name, seed)
        if ("generator", *key) not in compared.logged:
            continue  # it could not be logged, as the run has reported
        confirmed = compared.results.confirmed
        runs = confirmed.runs if choice.decision and isinstance(confirmed, Confirmed) else compared.runs
        weights = runs.generators[key].trained.checkpoint.sha256
        registered.append((registry, registry.register(compared.logged["generator", *key], weights, tags)))
    tags["augpipe.generator"] = ", ".join(f"{r.name} {v.version}" for r, v in registered) or "none"
    registered.append((classifiers, classifiers.register(logged, new.state.sha256, tags)))
    client.set_tag(compared.run, "augpipe.promotion", tags["augpipe.promotion"][:5000])
    if decision.promote:
        for registry, version in registered:
            registry.promote(version)
    model = f"arm {choice.arm!r}, seed {choice.seed}, version {registered[-1][1].version}"
    return f"{'promoted' if decision.promote else 'kept the champion over'} {model}: {decision.reason}"


def _here(config: Experiment) -> runtime.Runtime:
    return runtime.start(config.runner.device, config.runner.precision, cores())
