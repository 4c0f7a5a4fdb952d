"""Goes through a tiny comparison's stages in one process and prints, a line each, which were made and which recalled.

python tests/recalling.py STORE [KEY=VALUE ...]
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tiny import CONFIG

from augpipe.pipeline import cache as caching
from augpipe.pipeline import experiment as config
from augpipe.pipeline import stages
from augpipe.pipeline.records import Job, Part


def go(job: Job, tell: Callable[[str], None]) -> None:
    """In the order in which a run goes, for each seed."""

    def once(what: str, stage: Callable[..., Any], *inputs: Any, **more: Any) -> Any:
        found = caching.once(stage, job, *inputs, **more)
        tell(f"{'recalled' if found.recalled else 'made'} {what}")
        return found.value

    def silent(told: str, done: float) -> None:
        pass

    experiment, prepared = job.experiment, stages.prepare(job)
    for seed in experiment.seeds:
        end = f"/{seed}"
        domain = once("domain" + end, stages.train_features, prepared, seed)
        trained = {
            name: once(
                f"generator {name}{end}", stages.train_generator, prepared, domain,
                Part(name=name, seed=seed), report=silent,
            )
            for name in experiment.generators
        }  # fmt: skip
        for name, generator in trained.items():
            once(f"measure {name}{end}", stages.measure, prepared, domain, generator)
        for arm in experiment.arms:
            made = None
            if arm.generator:
                made = once(
                    f"synthesise {arm.name}{end}", stages.synthesise, prepared, domain,
                    trained[str(arm.generator)], dict(prepared.plans[arm.name]), experiment.curates(arm),
                )  # fmt: skip
            chosen = None
            if made is not None and arm.mix.searches:
                chosen = once(
                    f"choose {arm.name}{end}", stages.choose, prepared, arm, made, seed, domain, report=silent
                )  # fmt: skip
            recipe = once(f"mix {arm.name}{end}", stages.mix, prepared, arm, made, chosen)
            classifier = once(
                f"classifier {arm.name}{end}", stages.train_classifier, prepared, recipe, arm.name, seed,
                report=silent,
            )  # fmt: skip
            once(f"score {arm.name}{end}", stages.score, prepared, classifier, recipe)


def main() -> None:
    """See the module's head."""
    warnings.simplefilter("ignore")
    store, *overrides = sys.argv[1:]
    experiment = config.build(
        yaml.safe_load(CONFIG),
        ["seeds=1", "runner.device=cpu", "runner.precision=32-true", *overrides],
    )
    with tempfile.TemporaryDirectory() as progress:
        go(
            Job(experiment=experiment, store=Path(store), progress=Path(progress), threads=1),
            lambda line: print(line, flush=True),
        )


if __name__ == "__main__":
    main()


def job(store: Path, *overrides: str) -> Job:
    experiment = config.build(
        yaml.safe_load(CONFIG),
        ["seeds=1", "runner.device=cpu", "runner.precision=32-true", *overrides],
    )
    return Job(experiment=experiment, store=store, progress=store.parent / "p", threads=1)


def lines(work: Job) -> list[str]:
    found: list[str] = []
    go(work, found.append)
    return found


def made(told: list[str]) -> set[str]:
    return {line.removeprefix("made ") for line in told if line.startswith("made ")}
